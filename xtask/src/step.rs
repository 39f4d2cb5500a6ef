//! The steps of a build: what is shown while they run, and skipping those whose inputs are the
//! same as last time.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// How often the elapsed time on a terminal is renewed.
const TICK: Duration = Duration::from_secs(1);

/// Does `work` and shows its name with the time it takes; on a terminal the time counts up.
///
/// # Errors
///
/// Those of `work`.
pub(crate) fn timed<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let result = if io::stderr().is_terminal() {
        thread::scope(|scope| {
            let (done, stopped) = mpsc::channel::<()>();
            scope.spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                    eprint!("\r\x1b[K  {name} … {} s", started.elapsed().as_secs());
                }
                eprint!("\r\x1b[K");
            });
            let result = work();
            drop(done);
            result
        })
    } else {
        work()
    };
    match &result {
        Ok(_) => eprintln!("  {name}: {:.1} s", started.elapsed().as_secs_f32()),
        Err(_) => eprintln!("  {name}: failed after {:.1} s", started.elapsed().as_secs_f32()),
    }
    result
}

/// Everything a step's result depends on, as one hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inputs(Sha256);

impl Inputs {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.part(text.as_bytes());
        self
    }

    /// Adds a file's content.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        self.part(sha256_of(path)?.as_bytes());
        Ok(self)
    }

    /// Adds every file below a directory, with its name.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub(crate) fn tree(mut self, dir: &Path) -> Result<Self> {
        for path in files_below(dir)? {
            self.part(path.strip_prefix(dir).unwrap_or(&path).as_os_str().as_encoded_bytes());
            self = self.file(&path)?;
        }
        Ok(self)
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn hex(&self) -> String {
        hex::encode(self.0.clone().finalize())
    }
}

/// Steps whose results are kept, with a stamp for each in one directory.
#[derive(Debug)]
pub(crate) struct Stamps {
    dir: PathBuf,
}

impl Stamps {
    /// Stamps kept in `dir`, which is made.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Does `work`, which makes `output`, unless `output` is there and was made from the same
    /// inputs.
    ///
    /// # Errors
    ///
    /// Those of `work`, or when the stamp cannot be written.
    pub(crate) fn step(
        &self,
        name: &str,
        inputs: &Inputs,
        output: &Path,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let stamp = self.dir.join(name.replace(' ', "-"));
        let wanted = inputs.hex();
        if output.exists() && fs::read_to_string(&stamp).is_ok_and(|was| was == wanted) {
            eprintln!("  {name}: unchanged");
            return Ok(());
        }
        match fs::remove_file(&stamp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", stamp.display()));
            }
            _ => {}
        }
        timed(name, work)?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// The SHA-256 of a file, as 64 hexadecimal digits.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn sha256_of(path: &Path) -> Result<String> {
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(hex::encode(hash.finalize()));
            }
            hash.update(buffer.get(..count).unwrap_or_default());
        }
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// Every file and symbolic link below a directory, sorted by path.
///
/// # Errors
///
/// When a directory cannot be read.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
            let kind = entry
                .file_type()
                .with_context(|| format!("cannot look at {}", entry.path().display()))?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Replaces a file as a whole: a reader sees the old content or the new.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(content)?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The text with what stands between two marks replaced; none where it has not both.
pub(crate) fn between(text: &str, (begin, end): (&str, &str), table: &str) -> Option<String> {
    let (head, rest) = text.split_once(begin)?;
    let (_, tail) = rest.split_once(end)?;
    Some(format!("{head}{begin}\n\n{}\n\n{end}{tail}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_only_what_stands_between_its_marks() {
        let text = "head\n<!-- a: begin -->\nold\n<!-- a: end -->\ntail\n";
        let renewed = between(text, ("<!-- a: begin -->", "<!-- a: end -->"), "new\n").unwrap();
        assert_eq!(renewed, "head\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\ntail\n");
        assert_eq!(between(text, ("<!-- b: begin -->", "<!-- b: end -->"), "new"), None);
    }
    use std::cell::Cell;

    #[test]
    fn a_step_runs_again_only_when_its_inputs_change() {
        let dir = std::env::temp_dir().join(format!("xtask-stamps-{}", std::process::id()));
        let stamps = Stamps::open(&dir).unwrap();
        let output = dir.join("output");
        let runs = Cell::new(0);
        let work = || {
            runs.set(runs.get() + 1);
            fs::write(&output, "made")?;
            Ok(())
        };
        let first = Inputs::new().text("a").text("b");
        stamps.step("one", &first, &output, work).unwrap();
        stamps.step("one", &first, &output, work).unwrap();
        assert_eq!(runs.get(), 1);
        stamps.step("one", &Inputs::new().text("ab"), &output, work).unwrap();
        assert_eq!(runs.get(), 2);
        fs::remove_file(&output).unwrap();
        stamps.step("one", &Inputs::new().text("ab"), &output, work).unwrap();
        assert_eq!(runs.get(), 3);
        fs::remove_dir_all(&dir).unwrap();
    }
}
