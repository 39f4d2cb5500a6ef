//! A disk in memory whose power can be cut between any two calls. What was not synced is then lost,
//! kept or torn, as the test says.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a disk for tests: what it is asked for wrongly is a fault of the test"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::backend::{Backend, BackendFile, EntryKind, Space, VolumeLock};

/// What becomes of unsynced changes when the power is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// All lost.
    Lost,
    /// All kept, as when only the process is killed.
    Kept,
    /// Of every name and every file one or the other, files also torn, by this seed.
    Mixed(u64),
}

/// A failure to come.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// From this changing call on, all fail: the power is cut.
    PowerAt(u64),
    /// This one changing call fails, the others do not.
    ErrorAt(u64),
}

/// A handle of a disk, valid until the power is cut.
#[derive(Debug, Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    epoch: u64,
}

#[derive(Debug, Clone, Default)]
struct World {
    epoch: u64,
    files: HashMap<u64, Content>,
    /// By path, as text: hashing a path part by part takes most of the tests' time.
    dirs: HashMap<String, Names>,
    roots: BTreeSet<String>,
    next_file: u64,
    locks: BTreeSet<PathBuf>,
    calls: u64,
    fault: Option<Fault>,
    capacity: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(u64),
    Dir,
}

#[derive(Debug, Clone, Default)]
struct Names {
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

/// A small generator (SplitMix64), so that a seed always gives the same.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

impl SimDisk {
    /// An empty disk with these folders, durably.
    pub fn new(folders: &[&str]) -> Self {
        let mut world = World::default();
        for folder in folders {
            world.roots.insert((*folder).to_owned());
            world.dirs.insert((*folder).to_owned(), Names::default());
        }
        Self { world: Arc::new(Mutex::new(world)), epoch: 0 }
    }

    /// A disk of its own with the same content.
    pub fn fork(&self) -> Self {
        let world = self.lock().clone();
        Self { epoch: world.epoch, world: Arc::new(Mutex::new(world)) }
    }

    /// The same as if the machine had been copied while it ran: nothing holds a lock.
    pub fn fork_unlocked(&self) -> Self {
        let fork = self.fork();
        fork.lock().locks.clear();
        fork
    }

    /// What fails from now on; none for nothing.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut world = self.lock();
        (world.fault, world.calls) = (fault, 0);
    }

    /// Bytes that the disk holds; none for as many as are written.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Changing calls since the fault was set.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Cuts the power and gives a handle of what is there afterwards.
    pub fn cut(&self, cut: Cut) -> Self {
        let mut world = self.lock();
        let mut dice = Dice(if let Cut::Mixed(seed) = cut { seed } else { 0 });
        let mut keep = || match cut {
            Cut::Lost => 0,
            Cut::Kept => 1,
            Cut::Mixed(_) => dice.roll(3),
        };
        let mut ids: Vec<u64> = world.files.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(file) = world.files.get_mut(&id) else { continue };
            match keep() {
                0 => file.live = file.durable.clone(),
                1 => {}
                _ => tear(file),
            }
            file.durable = file.live.clone();
        }
        let mut dirs: Vec<(&String, &mut Names)> = world.dirs.iter_mut().collect();
        dirs.sort_unstable_by_key(|(dir, _)| *dir);
        for (_, names) in dirs {
            let all: BTreeSet<String> =
                names.live.keys().chain(names.durable.keys()).cloned().collect();
            let mut after = BTreeMap::new();
            for name in all {
                let from = if keep() == 0 { &names.durable } else { &names.live };
                if let Some(node) = from.get(&name) {
                    after.insert(name, *node);
                }
            }
            *names = Names { live: after.clone(), durable: after };
        }
        world.drop_unreachable();
        world.epoch += 1;
        world.locks.clear();
        (world.fault, world.calls) = (None, 0);
        Self { world: Arc::clone(&self.world), epoch: world.epoch }
    }

    /// Flips one bit of a file.
    pub fn flip_bit(&self, path: &Path, at: usize) {
        self.flip_bit_of(path, at, 0);
    }

    /// Flips one bit of a file: the given one of the byte at `at`.
    pub fn flip_bit_of(&self, path: &Path, at: usize, bit: u32) {
        let mut world = self.lock();
        let id = world.file(path).unwrap();
        let file = world.files.get_mut(&id).unwrap();
        file.live[at] ^= 1 << bit;
        file.durable = file.live.clone();
    }

    /// Paths of all files below a folder.
    pub fn files(&self, below: &str) -> Vec<PathBuf> {
        let world = self.lock();
        let mut found = Vec::new();
        for (dir, names) in world.dirs.iter().filter(|(dir, _)| dir.starts_with(below)) {
            for (name, node) in &names.live {
                if matches!(node, Node::File(_)) {
                    found.push(Path::new(dir).join(name));
                }
            }
        }
        found.sort_unstable();
        found
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn enter(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.lock();
        if world.epoch != self.epoch {
            return Err(io::Error::other("this process was killed"));
        }
        Ok(world)
    }

    /// Enters for a change, unless this is the one that fails.
    fn change(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.enter()?;
        let call = world.calls;
        world.calls += 1;
        match world.fault {
            Some(Fault::PowerAt(at)) if call >= at => Err(io::Error::other("power was cut")),
            Some(Fault::ErrorAt(at)) if call == at => Err(io::Error::other("injected error")),
            _ => Ok(world),
        }
    }
}

fn tear(file: &mut Content) {
    let (live, durable) = (&mut file.live, &file.durable);
    let middle = live.len() / 2;
    let end = durable.len().min(live.len());
    if middle < end {
        live[middle..end].copy_from_slice(&durable[middle..end]);
    }
    live.truncate(middle.max(durable.len()));
}

impl World {
    fn names(&mut self, dir: &Path) -> io::Result<&mut Names> {
        self.dirs.get_mut(text(dir)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path);
        match self.names(dir)?.live.get(&name) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self
            .dirs
            .values()
            .flat_map(|names| names.live.values())
            .filter_map(|node| if let Node::File(id) = node { Some(*id) } else { None })
            .collect();
        named.iter().filter_map(|id| self.files.get(id)).map(|f| f.live.len() as u64).sum()
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
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn split(path: &Path) -> (&Path, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (path.parent().unwrap_or(path), name)
}

impl Backend for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut world = self.change()?;
        let (dir, name) = split(path);
        let id = world.next_file;
        let names = world.names(dir)?;
        if names.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.live.insert(name, Node::File(id));
        world.next_file += 1;
        world.files.insert(id, Content::default());
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let id = self.enter()?.file(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.change()?;
        let id = world.file(from)?;
        let (to_dir, to_name) = split(to);
        world.names(to_dir)?.live.insert(to_name, Node::File(id));
        let (from_dir, from_name) = split(from);
        world.names(from_dir)?.live.remove(&from_name);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.change()?;
        world.file(path)?;
        let (dir, name) = split(path);
        world.names(dir)?.live.remove(&name);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.change()?;
        let (dir, name) = split(path);
        world.names(dir)?.live.insert(name, Node::Dir);
        world.dirs.entry(text(path).to_owned()).or_default();
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.change()?;
        if !world.names(path)?.live.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = split(path);
        world.names(dir)?.live.remove(&name);
        Ok(())
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        let mut world = self.enter()?;
        let (dir, name) = split(path);
        if world.dirs.get(text(dir)).is_some_and(|p| !p.live.contains_key(&name)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let kind = |node: &Node| match node {
            Node::File(_) => EntryKind::File,
            Node::Dir => EntryKind::Directory,
        };
        let names = &world.names(path)?.live;
        Ok(names.iter().map(|(name, node)| (name.clone(), kind(node))).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.change()?;
        let names = world.names(path)?;
        names.durable = names.live.clone();
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let world = self.enter()?;
        let total = world.capacity.unwrap_or(1 << 40);
        Ok(Space { total, free: total.saturating_sub(world.used()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VolumeLock>> {
        let mut world = self.enter()?;
        if !world.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl VolumeLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Ok(mut world) = self.disk.enter() {
            world.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl BackendFile for SimFile {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.change()?;
        if world.capacity.is_some_and(|capacity| world.used() + data.len() as u64 > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = world.files.get_mut(&self.id).unwrap();
        let offset = usize::try_from(offset).unwrap();
        file.live.resize(file.live.len().max(offset + data.len()), 0);
        file.live[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        let world = self.disk.enter()?;
        let offset = usize::try_from(offset).unwrap();
        let live = &world.files[&self.id].live;
        let from = live.get(offset..offset + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        data.copy_from_slice(from);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.enter()?.files[&self.id].live.len() as u64)
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        let mut world = self.disk.change()?;
        let file = world.files.get_mut(&self.id).unwrap();
        file.live.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn allocate(&self, _length: u64) -> io::Result<()> {
        self.disk.change().map(drop)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.change()?;
        let file = world.files.get_mut(&self.id).unwrap();
        file.durable = file.live.clone();
        Ok(())
    }
}
