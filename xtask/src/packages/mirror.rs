//! The Debian mirror of this machine, taken from its own apt sources.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::lock::Archive;

/// Set by a person to the base addresses to use instead of this machine's own: one for the
/// archive, then optionally one for the security archive, with a space between.
const OVERRIDE: &str = "ICN_DEBIAN_MIRROR";

/// Releases whose mirror also has the image's release.
const RELEASES: [&str; 5] = ["bookworm", "trixie", "forky", "sid", "stable"];

/// Base addresses of the archives, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    main: String,
    security: Option<String>,
}

impl Mirror {
    /// The mirror that this machine uses.
    ///
    /// # Errors
    ///
    /// When none is known.
    pub(crate) fn find() -> Result<Self> {
        if let Ok(text) = env::var(OVERRIDE) {
            let mut words = text.split_whitespace().map(without_slash);
            let main = words.next().with_context(|| format!("{OVERRIDE} is empty"))?;
            return Ok(Self { main, security: words.next() });
        }
        let mut sources = Vec::new();
        read_sources(Path::new("/etc/apt/sources.list"), &mut sources);
        if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
            let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                read_sources(&path, &mut sources);
            }
        }
        Self::among(&sources)
    }

    /// Picks the mirror from (address, suite) pairs. Other archives than Debian's use its release
    /// names as well, so an address that ends like Debian's own wins over one that does not.
    fn among(sources: &[(String, String)]) -> Result<Self> {
        let find = |suffixes: &[&str], ending: &str| {
            let fits = |suite: &str| {
                RELEASES.iter().any(|release| {
                    suite.strip_prefix(release).is_some_and(|rest| suffixes.contains(&rest))
                })
            };
            let mut found: Vec<&String> = sources
                .iter()
                .filter(|(_, suite)| fits(suite))
                .map(|(address, _)| address)
                .collect();
            found.sort_by_key(|address| !address.ends_with(ending));
            found.first().map(|address| (*address).clone())
        };
        match find(&["", "-updates", "-backports"], "/debian") {
            Some(main) => {
                // Mirrors that have both keep them side by side.
                let beside =
                    main.strip_suffix("/debian").map(|base| format!("{base}/debian-security"));
                Ok(Self { security: find(&["-security"], "/debian-security").or(beside), main })
            }
            None => bail!(
                "no Debian mirror stands in /etc/apt/sources.list or sources.list.d: set \
                 {OVERRIDE} to the base address of one"
            ),
        }
    }

    /// The base address of an archive.
    pub(crate) fn base(&self, archive: Archive) -> Option<&str> {
        match archive {
            Archive::Main => Some(&self.main),
            Archive::Security => self.security.as_deref(),
        }
    }

    /// Splits an address of a file into archive and path.
    pub(crate) fn split(&self, address: &str) -> Option<(Archive, String)> {
        let below = |base: &str| Some(address.strip_prefix(base)?.strip_prefix('/')?.to_owned());
        let security = self.security.as_deref().and_then(below);
        let found = security.map(|path| (Archive::Security, path));
        found.or_else(|| below(&self.main).map(|path| (Archive::Main, path)))
    }
}

fn read_sources(path: &Path, into: &mut Vec<(String, String)>) {
    let Ok(text) = fs::read_to_string(path) else { return };
    let found = match path.extension().and_then(|e| e.to_str()) {
        Some("list") => one_line(&text),
        Some("sources") => paragraphs(&text),
        _ => return,
    };
    into.extend(found.into_iter().map(|(address, suite)| (plain(&address), suite)));
}

/// The one-line form: `deb [options] ADDRESS SUITE COMPONENT…`.
fn one_line(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("deb ") else { continue };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let mut words = rest.split_whitespace();
        if let (Some(address), Some(suite)) = (words.next(), words.next()) {
            found.push((address.to_owned(), suite.to_owned()));
        }
    }
    found
}

/// The form of paragraphs with `Types:`, `URIs:` and `Suites:`.
fn paragraphs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            let mut lines = paragraph.lines().filter(|line| !line.starts_with('#'));
            let value = lines.find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            });
            value.unwrap_or_default()
        };
        let off = field("Enabled").eq_ignore_ascii_case("no");
        if off || !field("Types").split_whitespace().any(|kind| kind == "deb") {
            continue;
        }
        for address in field("URIs").split_whitespace() {
            for suite in field("Suites").split_whitespace() {
                found.push((address.to_owned(), suite.to_owned()));
            }
        }
    }
    found
}

/// The address itself, where apt is told to read it from a list of mirrors in a file.
fn plain(address: &str) -> String {
    let listed = address.strip_prefix("mirror+file:").and_then(|path| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
        Some(line.split_whitespace().next()?.to_owned())
    });
    without_slash(&listed.unwrap_or_else(|| address.to_owned()))
}

fn without_slash(address: &str) -> String {
    address.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAGRAPHS: &str = "Types: deb\n# a comment\nURIs: http://m.example/debian/\n\
        Suites: bookworm bookworm-updates\nComponents: main\n\nTypes: deb\n\
        URIs: http://m.example/debian-security\nSuites: bookworm-security\n";

    #[test]
    fn the_mirror_is_found_in_paragraphs() {
        let sources: Vec<_> =
            paragraphs(PARAGRAPHS).into_iter().map(|(a, s)| (plain(&a), s)).collect();
        let mirror = Mirror::among(&sources).unwrap();
        assert_eq!(mirror.base(Archive::Main), Some("http://m.example/debian"));
        assert_eq!(mirror.base(Archive::Security), Some("http://m.example/debian-security"));
    }

    #[test]
    fn the_mirror_is_found_in_lines_with_options() {
        let text = "# deb http://no.example/ bookworm main\n\
            deb [arch=amd64 signed-by=/x] http://vendor.example/ bookworm main\n\
            deb http://vendor.example/debian bookworm-vendor main\n\
            deb [trusted=yes] http://m.example/debian bookworm main contrib\n";
        let mirror = Mirror::among(&one_line(text)).unwrap();
        assert_eq!(mirror.base(Archive::Main), Some("http://m.example/debian"));
        assert_eq!(mirror.base(Archive::Security), Some("http://m.example/debian-security"));
    }

    #[test]
    fn an_address_is_split_at_the_longest_base() {
        let mirror = Mirror {
            main: "http://m.example/debian".into(),
            security: Some("http://m.example/debian-security".into()),
        };
        let split = mirror.split("http://m.example/debian-security/pool/x.deb");
        assert_eq!(split, Some((Archive::Security, "pool/x.deb".into())));
        let split = mirror.split("http://m.example/debian/pool/x.deb");
        assert_eq!(split, Some((Archive::Main, "pool/x.deb".into())));
        assert_eq!(mirror.split("http://other.example/debian/pool/x.deb"), None);
    }

    #[test]
    fn no_mirror_is_an_error_that_says_what_to_set() {
        let error = Mirror::among(&[]).unwrap_err().to_string();
        assert!(error.contains(OVERRIDE), "{error}");
    }
}
