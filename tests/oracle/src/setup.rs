//! What an oracle is started with: the parameters of its network, and whom it admits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use agent_sla::protocol::parameters::{Parameters, ParametersError};
use agent_sla::protocol::{Address, B256};
use tracing::{info, warn};

/// The longest file that is read in bytes: 100,000 lines with a node id and a comment are below.
const FILE_MAX: u64 = 32 << 20;

/// The most daemons that are admitted: each has some KiB of state.
pub const ADMITTED_MAX: usize = 200_000;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is longer than such files are.
    #[error("{path}: longer than {FILE_MAX} bytes, so it is another kind of file")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It has no parameters.
    #[error("{path}: no parameters, neither as TOML nor as JSON: {reason}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// They cannot be used.
    #[error("{path}: {source}")]
    Parameters {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ParametersError,
    },
    /// A line of the list of daemons is none.
    #[error("{path}: line {line}: {reason}")]
    Admit {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

fn read(path: &Path) -> Result<String, SetupError> {
    let failed = |source| SetupError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Err(SetupError::TooLong { path: path.to_owned() });
    }
    fs::read_to_string(path).map_err(failed)
}

/// Reads parameters: JSON if the file begins with `{`, else TOML.
///
/// # Errors
/// There are none, or they cannot be used.
pub fn parameters(path: &Path) -> Result<Parameters, SetupError> {
    let text = read(path)?;
    let parsed: Result<Parameters, String> = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    let parameters = parsed.map_err(|reason| SetupError::Form { path: path.to_owned(), reason })?;
    parameters
        .check()
        .map_err(|source| SetupError::Parameters { path: path.to_owned(), source })?;
    Ok(parameters)
}

/// Daemon addresses and, where the list says it, the node that each may speak for.
pub type AdmitList = BTreeMap<Address, Option<B256>>;

/// The list that a text has: `ADDRESS [NODE-ID] [# comment]` on each line.
///
/// # Errors
/// A line is none: its number, and why.
pub fn admit_list(text: &str) -> Result<AdmitList, (usize, String)> {
    let mut list = AdmitList::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words = line.split('#').next().unwrap_or_default();
        let mut words = words.split_whitespace();
        let Some(address) = words.next() else { continue };
        let address: Address = address
            .parse()
            .map_err(|_| (number, format!("{address} is no address: 0x and 40 hex digits")))?;
        let node = match words.next() {
            None => None,
            Some(id) => Some(
                id.parse().map_err(|_| (number, format!("{id} is no node id: 64 hex digits")))?,
            ),
        };
        if let Some(more) = words.next() {
            return Err((number, format!("{more}: a comment begins with #")));
        }
        if list.insert(address, node).is_some() {
            return Err((number, format!("{address} stands here twice")));
        }
        if list.len() > ADMITTED_MAX {
            return Err((number, format!("more than {ADMITTED_MAX} daemons")));
        }
    }
    Ok(list)
}

/// Who is admitted, as a file says that may be changed at any time.
#[derive(Debug)]
pub struct Admitted {
    path: PathBuf,
    list: RwLock<(AdmitList, Option<Stamp>)>,
}

/// By what a changed file is told.
type Stamp = (SystemTime, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

impl Admitted {
    /// Reads the list.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is wrong.
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        let stamp = stamp(path);
        let list = load(path)?;
        Ok(Self { path: path.to_owned(), list: RwLock::new((list, stamp)) })
    }

    /// Reads the list again if the file changed. One that cannot be used changes nothing.
    pub fn refresh(&self) {
        let found = stamp(&self.path);
        if self.list.read().unwrap_or_else(PoisonError::into_inner).1 == found {
            return;
        }
        let loaded = load(&self.path);
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.1 = found;
        match loaded {
            Ok(loaded) => {
                info!(daemons = loaded.len(), "the list of admitted daemons was read again");
                list.0 = loaded;
            }
            Err(error) => {
                warn!(%error, "the list of admitted daemons cannot be used; the one before counts");
            }
        }
    }

    /// Whether a daemon is admitted; if so, for which node alone, where the list says one.
    #[must_use]
    pub fn find(&self, daemon: &Address) -> Option<Option<B256>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).0.get(daemon).copied()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.read().unwrap_or_else(PoisonError::into_inner).0.len()
    }
}

fn load(path: &Path) -> Result<AdmitList, SetupError> {
    admit_list(&read(path)?).map_err(|(line, reason)| SetupError::Admit {
        path: path.to_owned(),
        line,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf";

    #[test]
    fn a_list_has_addresses_nodes_and_comments() {
        let node = "07".repeat(32);
        let text = format!("# all\n\n{ONE} # rack 1\n0x{} {node}\n", "2b".repeat(20));
        let list = admit_list(&text).expect("a list");
        assert_eq!(list.len(), 2);
        assert_eq!(list.get(&ONE.parse::<Address>().expect("an address")), Some(&None));
        let bound = list.get(&Address::repeat_byte(0x2b));
        assert_eq!(bound, Some(&Some(B256::repeat_byte(7))));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let wrong = |text: &str| admit_list(text).expect_err("wrong");
        assert_eq!(wrong("\nnode-1").0, 2);
        assert!(wrong(&format!("{ONE} rack")).1.contains("node id"));
        assert!(wrong(&format!("{ONE}\n{ONE}")).1.contains("twice"));
    }

    #[test]
    fn a_changed_list_is_read_again_and_a_broken_one_is_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("admit");
        fs::write(&path, ONE).expect("written");
        let admitted = Admitted::open(&path).expect("a list");
        let one = ONE.parse().expect("an address");
        assert_eq!(admitted.find(&one), Some(None));
        fs::write(&path, "something else").expect("written");
        admitted.refresh();
        assert_eq!(admitted.find(&one), Some(None));
        fs::write(&path, "# nobody is admitted now").expect("written");
        admitted.refresh();
        assert_eq!((admitted.find(&one), admitted.count()), (None, 0));
    }

    #[test]
    fn parameters_are_toml_or_json() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("parameters");
        let text = format!(
            "chain = 31337\ncontract = \"{ONE}\"\ngenesis = 5\nera_seconds = 60\nsamples = 4\n\
             oracles = [\"{ONE}\"]\n"
        );
        fs::write(&path, text).expect("written");
        let found = parameters(&path).expect("parameters");
        fs::write(&path, serde_json::to_string(&found).expect("JSON")).expect("written");
        assert_eq!(parameters(&path).expect("parameters"), found);
        let long = Parameters { samples: 0, ..found };
        fs::write(&path, serde_json::to_string(&long).expect("JSON")).expect("written");
        assert!(matches!(parameters(&path), Err(SetupError::Parameters { .. })));
    }
}
