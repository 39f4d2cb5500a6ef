//! What the simulated disk consists of, and what it is to do wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::content::{Content, Keep};
use super::{Cut, Dice, Fault};

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) epoch: u64,
    pub(super) files: HashMap<u64, Content>,
    /// By path, as text: hashing a path part by part takes most of the tests' time.
    pub(super) dirs: HashMap<String, Names>,
    pub(super) roots: BTreeSet<String>,
    pub(super) next_file: u64,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) faults: Vec<Fault>,
    pub(super) counts: Counts,
    pub(super) capacity: Option<u64>,
    pub(super) slow: Option<(u64, Dice)>,
    pub(super) pulls: Vec<Pull>,
}

/// Calls since faults were set.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) changes: u64,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) reads: u64,
    pub(super) read_bytes: u64,
    pub(super) slow: u64,
}

/// A volume that was pulled; handles opened before stay dead when it is back.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    folder: PathBuf,
    is_back: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Dir,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) live: BTreeMap<String, Node>,
    pub(super) durable: BTreeMap<String, Node>,
}

impl World {
    pub(super) fn names(&mut self, dir: &Path) -> io::Result<&mut Names> {
        self.dirs.get_mut(text(dir)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn file(&mut self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path);
        match self.names(dir)?.live.get(&name) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn content(&mut self, id: u64) -> &mut Content {
        self.files.get_mut(&id).unwrap()
    }

    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self
            .dirs
            .values()
            .flat_map(|names| names.live.values())
            .filter_map(|node| if let Node::File(id) = node { Some(*id) } else { None })
            .collect();
        named.iter().filter_map(|id| self.files.get(id)).map(Content::taken).sum()
    }

    /// Whether a file that takes `before` bytes may take `after`.
    pub(super) fn admit(&self, before: u64, after: u64) -> io::Result<()> {
        let more = after.saturating_sub(before);
        if more > 0 && self.capacity.is_some_and(|capacity| self.used() + more > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Cuts the power of what is at or below a folder.
    pub(super) fn cut(&mut self, below: &Path, cut: Cut) {
        let mut dice = Dice(if let Cut::Mixed(seed) = cut { seed } else { 0 });
        let mut dirs: Vec<String> =
            self.dirs.keys().filter(|dir| Path::new(dir).starts_with(below)).cloned().collect();
        dirs.sort_unstable();
        let named = |names: &Names| -> Vec<Node> {
            names.live.values().chain(names.durable.values()).copied().collect()
        };
        let mut ids = BTreeSet::new();
        for node in dirs.iter().filter_map(|dir| self.dirs.get(dir)).flat_map(named) {
            if let Node::File(id) = node {
                ids.insert(id);
            }
        }
        for id in ids {
            let file = self.content(id);
            let keep = match cut {
                Cut::Lost => Keep::Durable,
                Cut::Kept => Keep::All,
                Cut::Mixed(_) => match dice.roll(4) {
                    0 => Keep::Durable,
                    1 => {
                        file.sync();
                        Keep::Durable
                    }
                    _ => Keep::Sectors,
                },
            };
            file.cut(keep, &mut dice);
        }
        if !matches!(cut, Cut::Kept) {
            for dir in &dirs {
                if let Some(names) = self.dirs.get_mut(dir) {
                    names.cut(|| matches!(cut, Cut::Mixed(_)) && dice.roll(3) != 0);
                }
            }
            self.drop_unreachable();
        }
        self.locks.retain(|lock| !lock.starts_with(below));
    }

    fn drop_unreachable(&mut self) {
        let mut dirs: Vec<String> = self.dirs.keys().cloned().collect();
        // Parents before what is in them.
        dirs.sort_unstable();
        for dir in dirs {
            let (parent, name) = split(Path::new(&dir));
            let is_below = !self.roots.contains(&dir);
            let kept = self.dirs.get(text(parent)).is_some_and(|p| p.live.contains_key(&name));
            if is_below && !kept {
                self.dirs.remove(&dir);
            }
        }
    }

    pub(super) fn pull(&mut self, folder: &Path) {
        self.cut(folder, Cut::Lost);
        self.pulls.push(Pull { folder: folder.to_owned(), is_back: false });
    }

    pub(super) fn plug(&mut self, folder: &Path) {
        for pull in self.pulls.iter_mut().filter(|pull| pull.folder == folder) {
            pull.is_back = true;
        }
    }

    /// Whether a call for a path can be made on a handle that was opened when there had been
    /// `born` pulls.
    pub(super) fn reach(&self, path: &Path, born: usize) -> io::Result<()> {
        let is_gone = |(at, pull): (usize, &Pull)| {
            (!pull.is_back || at >= born) && path.starts_with(&pull.folder)
        };
        if self.pulls.iter().enumerate().any(is_gone) {
            return Err(io::Error::other("the disk was pulled"));
        }
        Ok(())
    }

    pub(super) fn count_slow(&mut self) {
        if let Some((one_in, dice)) = &mut self.slow
            && dice.roll(*one_in) == 0
        {
            self.counts.slow += 1;
        }
    }

    /// Counts a changing call, and says whether it fails.
    pub(super) fn change(&mut self) -> io::Result<()> {
        self.count_slow();
        let call = self.counts.changes;
        self.counts.changes += 1;
        for fault in &self.faults {
            match fault {
                Fault::PowerAt(at) if call >= *at => return Err(io::Error::other("power was cut")),
                Fault::ErrorAt(at) if call == *at => return Err(injected()),
                _ => {}
            }
        }
        Ok(())
    }
}

pub(super) fn injected() -> io::Error {
    io::Error::other("injected error")
}

impl Names {
    fn cut(&mut self, mut keep: impl FnMut() -> bool) {
        if self.live != self.durable {
            let all: BTreeSet<String> =
                self.live.keys().chain(self.durable.keys()).cloned().collect();
            let mut after = BTreeMap::new();
            for name in all {
                let from = if keep() { &self.live } else { &self.durable };
                if let Some(node) = from.get(&name) {
                    after.insert(name, *node);
                }
            }
            self.live.clone_from(&after);
            self.durable = after;
        }
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(super) fn split(path: &Path) -> (&Path, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (path.parent().unwrap_or(path), name)
}
