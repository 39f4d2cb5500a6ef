//! Open files of the simulated disk.

use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;

use super::world::{World, injected};
use super::{Dice, Fault, SimDisk};
use crate::backend::{BackendFile, VolumeLock};

#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) path: PathBuf,
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
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) id: u64,
    pub(super) path: PathBuf,
    /// Pulls that there had been when it was opened.
    pub(super) born: usize,
}

/// What becomes of one write.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    Lost,
    Elsewhere(u64),
    Failed,
}

impl SimFile {
    fn enter(&self) -> io::Result<MutexGuard<'_, World>> {
        self.disk.wait(&self.path);
        let world = self.disk.enter()?;
        world.reach(&self.path, self.born)?;
        Ok(world)
    }
}

impl BackendFile for SimFile {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.enter()?;
        let offset = usize::try_from(offset).unwrap();
        let call = world.counts.writes;
        world.counts.writes += 1;
        let is_cut_here =
            |fault: &Fault| matches!(fault, Fault::PowerAt(at) if *at == world.counts.changes);
        let is_cut_here = world.faults.iter().any(is_cut_here);
        if let Err(error) = world.change() {
            if is_cut_here {
                // Some of it may have reached the disk.
                world.content(self.id).write(data, offset, false);
            }
            return Err(error);
        }
        let before = world.content(self.id).taken();
        world.admit(before, (offset + data.len()) as u64)?;
        let fate = world.faults.iter().find_map(|fault| match fault {
            Fault::LostWriteAt(at) if *at == call => Some(Fate::Lost),
            Fault::MisdirectedWriteAt(at, seed) if *at == call => Some(Fate::Elsewhere(*seed)),
            Fault::WriteErrorAt(at) if *at == call => Some(Fate::Failed),
            _ => None,
        });
        let file = world.content(self.id);
        match fate.unwrap_or(Fate::Done) {
            Fate::Done => file.write(data, offset, false),
            Fate::Lost => file.write(data, offset, true),
            Fate::Elsewhere(seed) => {
                let sectors = (file.live().len().saturating_sub(data.len()) / 512).max(1);
                let sector = Dice(seed).roll(sectors as u64);
                file.write(data, usize::try_from(sector).unwrap() * 512, false);
            }
            Fate::Failed => {
                file.write(data.get(..data.len() / 2).unwrap_or_default(), offset, false);
                return Err(injected());
            }
        }
        Ok(())
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        let mut world = self.enter()?;
        world.count_slow();
        let call = world.counts.reads;
        world.counts.reads += 1;
        world.counts.read_bytes += data.len() as u64;
        let offset = usize::try_from(offset).unwrap();
        let live = world.files[&self.id].live();
        let from = live.get(offset..offset + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        data.copy_from_slice(from);
        for fault in &world.faults {
            match fault {
                Fault::ReadErrorAt(at) if *at == call => return Err(injected()),
                Fault::FlipOnReadAt(at, seed) if *at == call && !data.is_empty() => {
                    let bit = usize::try_from(Dice(*seed).roll(data.len() as u64 * 8)).unwrap();
                    data[bit / 8] ^= 1 << (bit % 8);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.enter()?.files[&self.id].live().len() as u64)
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        let mut world = self.enter()?;
        world.change()?;
        world.content(self.id).set_size(usize::try_from(length).unwrap());
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut world = self.enter()?;
        world.change()?;
        let before = world.content(self.id).taken();
        world.admit(before, length)?;
        let file = world.content(self.id);
        file.reserved = file.reserved.max(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.enter()?;
        let call = world.counts.syncs;
        world.counts.syncs += 1;
        let is_here = |fault: &Fault| match fault {
            Fault::SyncErrorAt(at) => *at == call,
            Fault::ErrorAt(at) => *at == world.counts.changes,
            _ => false,
        };
        let is_failing = world.faults.iter().any(is_here);
        // With the power cut, nobody asked the disk.
        let result = world.change().and(if is_failing { Err(injected()) } else { Ok(()) });
        let file = world.content(self.id);
        if is_failing {
            file.sync_failed();
        } else if result.is_ok() {
            file.sync();
        }
        result
    }
}
