//! Reads a volume in: what is on it, what is left over, what is damaged. Changes nothing but the
//! folder `tmp`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::format::{
    self, FormatError, NameHash, ObjectRecord, PartRecord, Tail, TombstoneRecord, UploadRecord,
};
use super::index::Part;
use super::volume::VolumeIo;
use crate::error::StoreError;
use crate::names::{PartNumber, UploadId};

/// Threads that read one volume in. A flash disk answers several at once; a spinning one sorts
/// them.
const SCAN_THREADS: usize = 4;

/// What is on a volume.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) objects: Vec<ScannedObject>,
    pub(crate) uploads: Vec<ScannedUpload>,
    pub(crate) tombstones: Vec<TombstoneRecord>,
    /// Leftovers of interrupted work that nothing refers to.
    pub(crate) leftovers: Vec<UploadId>,
    /// Files that cannot be read, in words.
    pub(crate) damaged: Vec<String>,
    /// Of these, those of objects.
    pub(crate) damaged_objects: Vec<NameHash>,
    pub(crate) removed: u64,
}

#[derive(Debug)]
pub(crate) struct ScannedObject {
    pub(crate) record: ObjectRecord,
    pub(crate) tail_len: u32,
    pub(crate) name: NameHash,
}

#[derive(Debug)]
pub(crate) struct ScannedUpload {
    pub(crate) record: UploadRecord,
    pub(crate) parts: BTreeMap<PartNumber, Part>,
}

/// Reads a volume in.
///
/// # Errors
/// The volume could not be read, or holds files of a newer format.
pub(crate) fn scan(io: &Arc<VolumeIo>) -> Result<Scan, StoreError> {
    let mut scan = Scan { removed: clear_temp(io)?, ..Scan::default() };
    scan_objects(io, &mut scan)?;
    scan_tombstones(io, &mut scan)?;
    scan_uploads(io, &mut scan)?;
    Ok(scan)
}

fn list(io: &VolumeIo, dir: &Path) -> Result<Vec<String>, StoreError> {
    let names = io.backend.list_dir(dir).map_err(|e| io.read_failed(dir, e))?;
    let mut names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
    // The same order in every run.
    names.sort_unstable();
    Ok(names)
}

fn clear_temp(io: &VolumeIo) -> Result<u64, StoreError> {
    let dir = io.root.join("tmp");
    let names = list(io, &dir)?;
    for name in &names {
        io.remove_lazily(&dir.join(name))?;
    }
    Ok(u64::try_from(names.len()).unwrap_or(u64::MAX))
}

/// What became of one file.
enum Found<R> {
    Good(Tail<R>),
    Damaged(String),
    /// It went away meanwhile.
    Gone,
}

fn read<R: serde::de::DeserializeOwned>(
    io: &VolumeIo,
    path: &Path,
) -> Result<Found<R>, StoreError> {
    let opened = match io.backend.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
        other => other,
    };
    match opened.map_err(FormatError::from).and_then(|file| format::read_tail(&*file)) {
        Ok(tail) => Ok(Found::Good(tail)),
        // A newer release wrote here: nothing of it may be judged.
        Err(error @ FormatError::Newer(_)) => Err(io.damaged(path, &error)),
        Err(error) => {
            io.damaged(path, &error);
            Ok(Found::Damaged(format!("{}: {error}", path.display())))
        }
    }
}

fn scan_objects(io: &Arc<VolumeIo>, scan: &mut Scan) -> Result<(), StoreError> {
    let dirs: Vec<PathBuf> =
        format::object_dirs().map(|name| io.root.join("objects").join(name)).collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Vec::new(), Vec::new()));
    let work = || -> Result<(), StoreError> {
        while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (mut objects, mut damaged) = (Vec::new(), Vec::new());
            for file in list(io, dir)? {
                scan_object(io, &dir.join(&file), &mut objects, &mut damaged)?;
            }
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.0.append(&mut objects);
            found.1.append(&mut damaged);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SCAN_THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io.unavailable("could not be read in")))
        })
    })?;
    let (objects, mut damaged) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    scan.objects = objects;
    scan.objects.sort_by_key(|object| object.name);
    damaged.sort_unstable();
    for (name, reason) in damaged {
        scan.damaged_objects.extend(NameHash::from_hex(&name));
        scan.damaged.push(reason);
    }
    Ok(())
}

fn scan_object(
    io: &VolumeIo,
    path: &Path,
    objects: &mut Vec<ScannedObject>,
    damaged: &mut Vec<(String, String)>,
) -> Result<(), StoreError> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    match read::<ObjectRecord>(io, path)? {
        Found::Gone => {}
        Found::Damaged(reason) => damaged.push((name, reason)),
        Found::Good(Tail { record, tail_len, .. }) => match format::check_name(&record, path) {
            Ok(()) => {
                let name = NameHash::of(&record.bucket, &record.key);
                objects.push(ScannedObject { record, tail_len, name });
            }
            Err(error) => damaged.push((name, format!("{}: {error}", path.display()))),
        },
    }
    Ok(())
}

fn scan_tombstones(io: &VolumeIo, scan: &mut Scan) -> Result<(), StoreError> {
    let dir = io.root.join("tombstones");
    for name in list(io, &dir)? {
        match read::<TombstoneRecord>(io, &dir.join(name))? {
            Found::Good(tail) => scan.tombstones.push(tail.record),
            Found::Damaged(reason) => scan.damaged.push(reason),
            Found::Gone => {}
        }
    }
    Ok(())
}

fn scan_uploads(io: &VolumeIo, scan: &mut Scan) -> Result<(), StoreError> {
    let mut completed: HashMap<UploadId, HashSet<PartNumber>> = HashMap::new();
    for object in &scan.objects {
        if let Some(multi) = &object.record.multi {
            let parts = multi.parts.iter().map(|slice| slice.part).collect();
            completed.insert(multi.upload.clone(), parts);
        }
    }
    for name in list(io, &io.root.join("multi"))? {
        let Ok(upload) = UploadId::new(&name) else { continue };
        if let Some(parts) = completed.get(&upload) {
            finish_completed(io, &upload, parts, scan)?;
            continue;
        }
        match read::<UploadRecord>(io, &io.upload_path(&upload))? {
            Found::Good(tail) if tail.record.upload == upload => {
                let parts = scan_parts(io, &upload, scan)?;
                scan.uploads.push(ScannedUpload { record: tail.record, parts });
            }
            Found::Good(_) => {
                scan.damaged.push(format!("{}: it has another's record", name));
            }
            Found::Damaged(reason) => scan.damaged.push(reason),
            // Begun and never recorded, aborted, or its object is gone. With a damaged object about
            // it may be that one's body, and stays.
            Found::Gone if scan.damaged.is_empty() => scan.leftovers.push(upload),
            Found::Gone => {}
        }
    }
    Ok(())
}

/// Does what a crash after the publication of an upload kept from being done.
fn finish_completed(
    io: &VolumeIo,
    upload: &UploadId,
    parts: &HashSet<PartNumber>,
    scan: &mut Scan,
) -> Result<(), StoreError> {
    let dir = io.multi_dir(upload);
    for name in list(io, &dir)? {
        let part = name.parse().ok().and_then(|n| PartNumber::new(n).ok());
        if part.is_none_or(|part| !parts.contains(&part)) {
            io.remove_lazily(&dir.join(name))?;
            scan.removed += 1;
        }
    }
    Ok(())
}

fn scan_parts(
    io: &VolumeIo,
    upload: &UploadId,
    scan: &mut Scan,
) -> Result<BTreeMap<PartNumber, Part>, StoreError> {
    let dir = io.multi_dir(upload);
    let mut parts = BTreeMap::new();
    for name in list(io, &dir)? {
        let Some(number) = name.parse().ok().and_then(|n| PartNumber::new(n).ok()) else {
            continue;
        };
        match read::<PartRecord>(io, &dir.join(&name))? {
            Found::Good(tail) if tail.record.part == number && tail.record.upload == *upload => {
                let PartRecord { etag, size, modified, checksums, crc, .. } = tail.record;
                let checksums = (&checksums).into();
                parts.insert(number, Part { etag, size, modified, checksums, crc });
            }
            Found::Good(_) => scan.damaged.push(format!("{name}: it belongs to another upload")),
            Found::Damaged(reason) => scan.damaged.push(reason),
            Found::Gone => {}
        }
    }
    Ok(parts)
}
