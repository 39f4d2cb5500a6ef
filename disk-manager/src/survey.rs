//! One look at all disks, for `icn-disks plan`: prints what would be done and does nothing.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use disk_manager_plan::{Inventory, Plan, plan};
use uuid::Uuid;

use crate::apply::Context;
use crate::device::{facts, present};
use crate::mounts::InUse;
use crate::probe::{Health, Pulse, Source, timed_out};

/// A disk that gives no answer for this long hangs. Above the time limit of the programs that are
/// asked meanwhile, and above the 30 s that the kernel gives a command before it resets the disk.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(45);

/// Looks at every disk, side by side, and plans.
///
/// # Errors
/// Neither sysfs nor /proc can be read.
pub fn survey(context: &Context) -> io::Result<Plan> {
    let in_use = InUse::read(&context.sysfs)?;
    let looks: Vec<_> = present(&context.sysfs)?
        .into_iter()
        .map(|disk| {
            let (sender, receiver) = mpsc::sync_channel(1);
            let (context, name, pulse) = (context.clone(), disk.name.clone(), Pulse::default());
            let beat = pulse.clone();
            thread::spawn(move || {
                // The receiver is gone once the disk has been silent for too long.
                let _ = sender.send(context.look(&name, &Source::Name, Health::Ask, beat));
            });
            (disk.name, pulse, receiver)
        })
        .collect();
    let mut disks = Vec::new();
    for (name, pulse, receiver) in looks {
        disks.push(match wait(&receiver, &pulse) {
            Some(seen) => seen.map_err(io::Error::other)?,
            None => timed_out(facts(&context.sysfs, &name, &in_use), SILENCE_LIMIT.as_secs()),
        });
    }
    let (mounted, stale) = volumes(&in_use, &context.policy.data_dir);
    let inventory =
        Inventory { generation: 1, disks, settled: true, mounted, stale, ..Inventory::default() };
    Ok(plan(&inventory, &context.policy))
}

/// Waits for a look to end; `None` where the disk falls silent.
fn wait<T>(receiver: &mpsc::Receiver<T>, pulse: &Pulse) -> Option<T> {
    loop {
        let before = pulse.count();
        match receiver.recv_timeout(SILENCE_LIMIT) {
            Ok(seen) => return Some(seen),
            Err(mpsc::RecvTimeoutError::Timeout) if pulse.count() != before => {}
            Err(_) => return None,
        }
    }
}

/// The volumes that are mounted below the data directory: those whose disk is there, and those
/// whose disk is gone.
#[must_use]
pub fn volumes(in_use: &InUse, data_dir: &std::path::Path) -> (Vec<Uuid>, Vec<Uuid>) {
    let volume = |at: &std::path::PathBuf| {
        let name = at.strip_prefix(data_dir).ok()?.to_str()?;
        Uuid::parse_str(name).ok()
    };
    let mounted = in_use.mounts.values().flatten().filter_map(volume).collect();
    let stale = in_use.stale.iter().filter_map(volume).collect();
    (mounted, stale)
}
