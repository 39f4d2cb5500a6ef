//! Opens a journal: finds its segments and reads them.

use std::sync::Arc;

use super::header::{HeaderRead, SegmentHeader};
use super::scan::{Head, Scanner};
use super::slots::{File, Segment, Slots};
use super::types::{Damage, Found, JournalError, SegmentScan};
use crate::backend::EntryKind;
use crate::device::SCAN_MAX;

/// Reads all segments into `slots` and gives their records to `visit`.
pub(super) async fn open<V: FnMut(Found) + Send + 'static>(
    slots: &Arc<Slots>,
    mut visit: V,
) -> Result<Vec<SegmentScan>, JournalError> {
    let (device, folder) = (&slots.device, || slots.folder.clone());
    let all = Arc::clone(slots);
    let found = device.run(SCAN_MAX, "list", folder, move || all.list()).await??;
    // Before anything is given or changed: a later release's segment stops it all.
    let all = Arc::clone(slots);
    let heads = device.run(SCAN_MAX, "read", folder, move || all.heads(found)).await??;
    let mut scans = Vec::with_capacity(heads.len());
    for (slot, file, head) in heads {
        let all = Arc::clone(slots);
        let scan = move || {
            let scan = all.scan(slot, file, &head, &mut visit);
            (visit, scan)
        };
        let (back, scan) = device.run(SCAN_MAX, "read", || slots.path(slot), scan).await?;
        visit = back;
        scans.push(scan);
    }
    Ok(scans)
}

impl Slots {
    /// The slots with a file. What another process left unsynced is synced by the way: all that is
    /// found must outlast a cut.
    fn list(&self) -> Result<Vec<u16>, JournalError> {
        let (backend, root) = (self.device.backend(), self.device.root());
        if self.device.fenced().is_none() {
            let made = backend.create_dir(&self.folder).and_then(|()| backend.sync_dir(root));
            if let Err(error) = made.and_then(|()| backend.sync_dir(&self.folder)) {
                self.fence("make", &self.folder, &error);
            }
        }
        let names = backend.list_dir(&self.folder).map_err(|source| {
            let path = self.folder.clone();
            JournalError::Io { operation: "list", path, source }
        })?;
        let files = names.iter().filter(|(_, kind)| *kind == EntryKind::File);
        let mut slots: Vec<u16> = files.filter_map(|(name, _)| slot_of(name)).collect();
        slots.sort_unstable();
        Ok(slots)
    }

    fn heads(&self, found: Vec<u16>) -> Result<Vec<(u16, File, Head)>, JournalError> {
        let mut heads = Vec::with_capacity(found.len());
        for slot in found {
            let path = self.path(slot);
            let failed = |operation| {
                let path = path.clone();
                move |source| JournalError::Io { operation, path, source }
            };
            let file: File = self.device.backend().open(&path).map_err(failed("open"))?.into();
            let head = Head::of(&*file).map_err(failed("measure"))?;
            match head.read {
                Ok(HeaderRead::Newer(found)) => return Err(JournalError::Newer { path, found }),
                Ok(HeaderRead::Whole(header) | HeaderRead::Mended(header))
                    if header.volume != self.device.number() =>
                {
                    return Err(JournalError::Foreign { path, found: header.volume });
                }
                _ => heads.push((slot, file, head)),
            }
        }
        Ok(heads)
    }

    fn scan(
        &self,
        slot: u16,
        file: File,
        head: &Head,
        visit: &mut dyn FnMut(Found),
    ) -> SegmentScan {
        if self.device.fenced().is_none()
            && let Err(error) = file.sync_data()
        {
            self.fence("sync", &self.path(slot), &error);
        }
        let is_mended = matches!(head.read, Ok(HeaderRead::Mended(_)));
        let header = match &head.read {
            Ok(HeaderRead::Whole(header) | HeaderRead::Mended(header)) => *header,
            Ok(HeaderRead::Blank | HeaderRead::Broken | HeaderRead::Newer(_)) => {
                self.hold_idle(slot);
                let is_broken = !matches!(head.read, Ok(HeaderRead::Blank));
                return nothing(slot, Damage { header: is_broken, ..Damage::default() });
            }
            Err(_) => {
                // What is in it is not known, so it is left until its owner frees it.
                self.hold(slot, held(file, head, 0, &nothing(slot, Damage::default())));
                let damage = Damage { unreadable: 1, ..Damage::default() };
                return SegmentScan { is_held: true, ..nothing(slot, damage) };
            }
        };
        let SegmentHeader { volume, incarnation, length } = header;
        let scanner = Scanner { sealer: self.device.sealer(), volume, slot, incarnation, visit };
        let (mut scan, is_any) = scanner.run(&*file, length.min(head.size));
        scan.damage.mended += u64::from(is_mended);
        scan.is_held = is_any || scan.damage.unreadable > 0;
        if scan.is_held {
            self.hold(slot, held(file, head, length, &scan));
        } else {
            self.hold_idle(slot);
        }
        scan
    }
}

fn held(file: File, head: &Head, length: u64, scan: &SegmentScan) -> Segment {
    // Of a file that is too short nothing is to be used again.
    let length = if head.size < length { head.size } else { length };
    Segment {
        incarnation: scan.incarnation,
        file,
        length,
        is_open: false,
        lsns: scan.lsns,
        bytes: scan.bytes,
        records: scan.records,
    }
}

fn nothing(slot: u16, damage: Damage) -> SegmentScan {
    SegmentScan {
        slot,
        incarnation: 0,
        is_held: false,
        records: 0,
        bytes: 0,
        lsns: None,
        is_torn: false,
        damage,
    }
}

/// The slot that a file's name stands for.
fn slot_of(name: &str) -> Option<u16> {
    let is_ours = name.len() == 4 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { u16::from_str_radix(name, 16).ok() } else { None }
}
