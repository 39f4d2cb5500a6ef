//! What goes onto the partition ICN-SEED: checked as a node would, then written.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fatfs::{FileSystem, FsOptions};
use provisioning_config::seed::{CONFIG_FILE, MAX_FILE, MAX_FILES, MAX_TOTAL};
use provisioning_config::{Problem, parse_bytes};

use crate::partition::{Partition, Window};

/// The name under which a file is written before it takes its place.
const STAGED: &str = "icn-new.tmp";

/// Why a seed cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than {MAX_FILE} bytes, which a node does not read", path.display())]
    Large { path: PathBuf },
    #[error("{} has no name that a FAT partition can hold: rename it", path.display())]
    Name { path: PathBuf },
    #[error("{name} is given twice: files on the partition have no folders, so rename one")]
    Twice { name: String },
    #[error("{count} files are more than a node reads: give at most {MAX_FILES}")]
    Many { count: usize },
    #[error("the files have {total} bytes in all, more than the {MAX_TOTAL} that a node reads")]
    TotalLarge { total: u64 },
    #[error("no file is called {CONFIG_FILE}: add it, a node reads its configuration from there")]
    NoConfig,
    #[error("the file system of the partition cannot be read: write the image anew")]
    FileSystem { source: io::Error },
    #[error("cannot write {name} to the partition")]
    Write { name: String, source: io::Error },
    #[error("cannot bring the partition to stable storage: do not use it")]
    Sync { source: io::Error },
}

/// What a node would say of the file.
pub(crate) fn check(path: &Path) -> Result<Vec<Problem>, SeedError> {
    Ok(parse_bytes(&read(path)?).1)
}

/// The files for one partition, by name; the configuration is last.
#[derive(Debug)]
pub(crate) struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    /// Reads the files; their folders do not count.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, SeedError> {
        if paths.len() > MAX_FILES {
            return Err(SeedError::Many { count: paths.len() });
        }
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| is_fat_name(name)) else {
                return Err(SeedError::Name { path: path.clone() });
            };
            if files.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return Err(SeedError::Twice { name: name.to_owned() });
            }
            files.push((name.to_owned(), read(path)?));
        }
        let total = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if total > MAX_TOTAL {
            return Err(SeedError::TotalLarge { total });
        }
        files.sort_by_key(|(name, _)| (name == CONFIG_FILE, name.clone()));
        match files.last() {
            Some((name, _)) if name == CONFIG_FILE => Ok(Self(files)),
            _ => Err(SeedError::NoConfig),
        }
    }

    /// What a node would say of the configuration, and files that it names and that are not here.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let Some((_, text)) = self.0.last() else { return Vec::new() };
        let (config, mut problems) = parse_bytes(text);
        let named =
            config.s3.tls.iter().flat_map(|tls| {
                [("s3.tls_certificate", &tls.certificate), ("s3.tls_key", &tls.key)]
            });
        for (key, name) in named.filter(|(_, name)| !self.0.iter().any(|(here, _)| here == *name)) {
            problems.push(Problem {
                line: 0,
                key: key.to_owned(),
                message: format!("{name} is not among the files: add it to the command"),
                consequence: "the node would use its own certificate".to_owned(),
            });
        }
        problems
    }

    /// The names, for a message.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    /// Writes each file in place of one of the same name, the configuration last; other files on
    /// the partition stay. Returns when all is on stable storage.
    pub(crate) fn write(&self, partition: &Partition) -> Result<(), SeedError> {
        let window = partition.window().map_err(|source| SeedError::FileSystem { source })?;
        let system = FileSystem::new(window, FsOptions::new())
            .map_err(|source| SeedError::FileSystem { source })?;
        for (name, bytes) in &self.0 {
            replace(&system, name, bytes)
                .map_err(|source| SeedError::Write { name: name.clone(), source })?;
        }
        system.unmount().map_err(|source| SeedError::FileSystem { source })?;
        partition.sync().map_err(|source| SeedError::Sync { source })
    }
}

/// The whole file is written before it takes the place of an older one.
fn replace(system: &FileSystem<Window>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let root = system.root_dir();
    if let Err(error) = stage(system, bytes) {
        // The partition is full or failing: what matters is the error above this one.
        let _ = root.remove(STAGED);
        return Err(error);
    }
    match root.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    root.rename(STAGED, &root, name)
}

fn stage(system: &FileSystem<Window>, bytes: &[u8]) -> io::Result<()> {
    let mut file = system.root_dir().create_file(STAGED)?;
    file.truncate()?;
    file.write_all(bytes)?;
    file.flush()
}

fn read(path: &Path) -> Result<Vec<u8>, SeedError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| SeedError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(SeedError::Large { path: path.to_owned() });
    }
    Ok(bytes)
}

fn is_fat_name(name: &str) -> bool {
    let illegal = |c: char| c.is_control() || r#""*/:<>?\|"#.contains(c);
    name.len() <= 255 && !name.contains(illegal) && !name.starts_with('.') && !name.ends_with('.')
}
