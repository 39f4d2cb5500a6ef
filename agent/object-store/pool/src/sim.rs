//! A disk in memory whose power can be cut between any two calls. What was not synced is then lost,
//! kept or torn, as the test says.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a disk for tests: what it is asked for wrongly is a fault of the test"
)]

mod content;
mod file;
mod world;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::backend::{Backend, BackendFile, EntryKind, Space, VolumeLock};
use content::Content;
use file::{SimFile, SimLock};
use world::{Names, Node, World, split, text};

/// What becomes of unsynced changes when the power is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// All lost.
    Lost,
    /// All kept, but no more durable than before, as when only the process is killed.
    Kept,
    /// Of every name and every sector of 512 bytes one or the other, by this seed.
    Mixed(u64),
}

/// A failure to come. Calls are counted from 0 and from when it was set.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// From this changing call on, all fail: the power is cut.
    PowerAt(u64),
    /// This one changing call fails, the others do not.
    ErrorAt(u64),
    /// This write fails; half of it may be on the disk.
    WriteErrorAt(u64),
    /// This sync fails, and what it was for never becomes durable.
    SyncErrorAt(u64),
    /// This read fails.
    ReadErrorAt(u64),
    /// One bit of what this read gives is wrong, by a seed; the disk itself is right.
    FlipOnReadAt(u64, u64),
    /// This write is acknowledged and synced, and gone after a power cut.
    LostWriteAt(u64),
    /// This write is acknowledged and goes to another place of the file, by a seed.
    MisdirectedWriteAt(u64, u64),
}

/// A handle of a disk, valid until the power is cut.
#[derive(Debug, Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    epoch: u64,
    hangs: Arc<Hangs>,
}

/// What hangs, and who waits for it.
#[derive(Debug, Default)]
struct Hangs {
    folders: Mutex<Vec<PathBuf>>,
    changed: Condvar,
    waiting: AtomicUsize,
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
        Self { world: Arc::new(Mutex::new(world)), epoch: 0, hangs: Arc::default() }
    }

    /// A disk of its own with the same content.
    pub fn fork(&self) -> Self {
        let world = self.lock().clone();
        Self { epoch: world.epoch, world: Arc::new(Mutex::new(world)), hangs: Arc::default() }
    }

    /// The same as if the machine had been copied while it ran: nothing holds a lock.
    pub fn fork_unlocked(&self) -> Self {
        let fork = self.fork();
        fork.lock().locks.clear();
        fork
    }

    /// What fails from now on; none for nothing.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.set_faults(fault.as_slice());
    }

    /// All that fails from now on.
    pub fn set_faults(&self, faults: &[Fault]) {
        let mut world = self.lock();
        world.faults = faults.to_vec();
        world.counts = world::Counts::default();
    }

    /// Of so many calls one is slow, by a seed: counted, not waited for.
    pub fn set_slow(&self, one_in: u64, seed: u64) {
        self.lock().slow = Some((one_in, Dice(seed)));
    }

    /// Slow calls since a fault was set.
    pub fn slow_calls(&self) -> u64 {
        self.lock().counts.slow
    }

    /// Bytes that the disk holds; none for as many as are written.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Leaves so many bytes of room.
    pub fn fill(&self, room: u64) {
        let mut world = self.lock();
        let used = world.used();
        world.capacity = Some(used + room);
    }

    /// Changing calls since the fault was set.
    pub fn calls(&self) -> u64 {
        self.lock().counts.changes
    }

    /// Bytes that were read since a fault was set.
    pub fn read_bytes(&self) -> u64 {
        self.lock().counts.read_bytes
    }

    /// Cuts the power and gives a handle of what is there afterwards.
    pub fn cut(&self, cut: Cut) -> Self {
        let mut world = self.lock();
        world.cut(Path::new("/"), cut);
        world.epoch += 1;
        world.locks.clear();
        (world.faults, world.counts) = (Vec::new(), world::Counts::default());
        Self { world: Arc::clone(&self.world), epoch: world.epoch, hangs: Arc::default() }
    }

    /// From now on no call ends for what is at or below a folder; it blocks its thread, so it must
    /// not be made on that of the test.
    pub fn hang(&self, folder: &str) {
        self.hangs.folders.lock().unwrap().push(folder.into());
    }

    /// All that hung goes on.
    pub fn release(&self) {
        self.hangs.folders.lock().unwrap().clear();
        self.hangs.changed.notify_all();
    }

    /// Calls that hang.
    pub fn hung_calls(&self) -> usize {
        self.hangs.waiting.load(Ordering::SeqCst)
    }

    fn wait(&self, path: &Path) {
        let mut folders = self.hangs.folders.lock().unwrap();
        while folders.iter().any(|folder| path.starts_with(folder)) {
            self.hangs.waiting.fetch_add(1, Ordering::SeqCst);
            folders = self.hangs.changed.wait(folders).unwrap();
            self.hangs.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Pulls the disk that is mounted at a folder: what it had not synced is lost, and all calls
    /// for what is below fail.
    pub fn pull(&self, folder: &str) {
        self.lock().pull(Path::new(folder));
    }

    /// Plugs a pulled disk again; files that were open stay dead.
    pub fn plug(&self, folder: &str) {
        self.lock().plug(Path::new(folder));
    }

    /// Flips one bit of a file.
    pub fn flip_bit(&self, path: &Path, at: usize) {
        self.flip_bit_of(path, at, 0);
    }

    /// Flips one bit of a file: the given one of the byte at `at`.
    pub fn flip_bit_of(&self, path: &Path, at: usize, bit: u32) {
        let mut world = self.lock();
        let id = world.file(path).unwrap();
        world.content(id).flip(at, bit);
    }

    /// Content of a file.
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let mut world = self.lock();
        let id = world.file(path).unwrap();
        world.content(id).live().to_vec()
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

    /// Enters for a call for a path.
    fn reach(&self, path: &Path) -> io::Result<MutexGuard<'_, World>> {
        self.wait(path);
        let world = self.enter()?;
        world.reach(path, world.pulls.len())?;
        Ok(world)
    }

    /// Enters for a change, unless this is the one that fails.
    fn change(&self, path: &Path) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.reach(path)?;
        world.change()?;
        Ok(world)
    }

    fn opened(&self, world: &World, id: u64, path: &Path) -> Box<dyn BackendFile> {
        let (disk, path, born) = (self.clone(), path.to_owned(), world.pulls.len());
        Box::new(SimFile { disk, id, path, born })
    }
}

impl Backend for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut world = self.change(path)?;
        let (dir, name) = split(path);
        let id = world.next_file;
        let names = world.names(dir)?;
        if names.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.live.insert(name, Node::File(id));
        world.next_file += 1;
        world.files.insert(id, Content::default());
        Ok(self.opened(&world, id, path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let mut world = self.reach(path)?;
        let id = world.file(path)?;
        Ok(self.opened(&world, id, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.change(from)?;
        let id = world.file(from)?;
        let (to_dir, to_name) = split(to);
        world.names(to_dir)?.live.insert(to_name, Node::File(id));
        let (from_dir, from_name) = split(from);
        world.names(from_dir)?.live.remove(&from_name);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.change(path)?;
        world.file(path)?;
        let (dir, name) = split(path);
        world.names(dir)?.live.remove(&name);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.change(path)?;
        let (dir, name) = split(path);
        world.names(dir)?.live.insert(name, Node::Dir);
        world.dirs.entry(text(path).to_owned()).or_default();
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.change(path)?;
        if !world.names(path)?.live.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = split(path);
        world.names(dir)?.live.remove(&name);
        Ok(())
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        let mut world = self.reach(path)?;
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
        let mut world = self.change(path)?;
        let names = world.names(path)?;
        names.durable = names.live.clone();
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        // Known without asking the disk, so that it never hangs.
        let world = self.enter()?;
        world.reach(path, world.pulls.len())?;
        let total = world.capacity.unwrap_or(1 << 40);
        Ok(Space { total, free: total.saturating_sub(world.used()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VolumeLock>> {
        let mut world = self.reach(path)?;
        if !world.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

#[cfg(test)]
#[path = "sim/tests.rs"]
mod tests;
