//! One look at all disks, for `icn-disks plan`: prints what would be done and does nothing.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use disk_manager_plan::{Inventory, ObservedDisk, Plan, plan};
use uuid::Uuid;

use crate::apply::Context;
use crate::device::{facts, present};
use crate::mounts::InUse;
use crate::probe::{Source, timed_out};

/// How long a disk may take to answer every question. The longest of a healthy disk is reading
/// 64 MiB in 514 places: about 8 s on a slow rotating one.
pub const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// Looks at every disk, side by side, and plans.
///
/// # Errors
/// Neither sysfs nor /proc can be read.
pub fn survey(context: &Context) -> io::Result<Plan> {
    let in_use = InUse::read(&context.sysfs)?;
    let present = present(&context.sysfs)?;
    let (sender, receiver) = mpsc::channel();
    for (place, disk) in present.iter().enumerate() {
        let (context, sender, name) = (context.clone(), sender.clone(), disk.name.clone());
        thread::spawn(move || {
            let seen = context.look(&name, &Source::Name);
            // The receiver is gone once the time is up.
            let _ = sender.send((place, seen));
        });
    }
    drop(sender);
    let mut disks: Vec<Option<ObservedDisk>> = vec![None; present.len()];
    let end = Instant::now() + LOOK_LIMIT;
    while let Ok((place, seen)) =
        receiver.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        let seen = seen.map_err(io::Error::other)?;
        if let Some(disk) = disks.get_mut(place) {
            *disk = Some(seen);
        }
    }
    let late = |name: &str| timed_out(facts(&context.sysfs, name, &in_use), LOOK_LIMIT.as_secs());
    let disks = present
        .iter()
        .zip(disks)
        .map(|(disk, seen)| seen.unwrap_or_else(|| late(&disk.name)))
        .collect();
    let (mounted, stale) = volumes(&in_use, &context.policy.data_dir);
    let inventory =
        Inventory { generation: 1, disks, settled: true, mounted, stale, ..Inventory::default() };
    Ok(plan(&inventory, &context.policy))
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
