//! Room that files take, and their pages in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Bytes per block in `st_blocks`, stat(3type).
const BLOCK: u64 = 512;

/// Bytes of the magic, the version, the volume and what is zero, before the incarnation in a segment's header.
const SEGMENT_INCARNATION: u64 = 16;

/// Where a segment's first frame is, and before it in the frame its magic.
const FIRST_FRAME: u64 = 4096;
const FRAME_INCARNATION: u64 = FIRST_FRAME + 4;

/// What files take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes on disk.
    pub(crate) taken: u64,
    /// Those of them that hold nothing yet: beyond a file's end, and journal segments without a frame.
    pub(crate) ahead: u64,
}

impl Room {
    /// What holds something.
    pub(crate) fn in_use(self) -> u64 {
        self.taken.saturating_sub(self.ahead)
    }
}

/// What lies below a folder takes; segments and extents are as docs/design/on-disk-format.md has them.
///
/// # Errors
/// It cannot be read.
pub(crate) fn on_disk(dir: &Path) -> Result<Room> {
    let mut room = Room::default();
    for path in files(dir)? {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| cannot_read(&path)),
        };
        let bytes = metadata.blocks() * BLOCK;
        room.taken += bytes;
        let of = path.parent().and_then(Path::file_name).map(std::ffi::OsStr::as_encoded_bytes);
        let is_free = of == Some(b"journal") && metadata.is_file() && !has_frame(&path);
        room.ahead += if is_free { bytes } else { bytes.saturating_sub(metadata.len().max(4096)) };
    }
    Ok(room)
}

/// Whether a segment has a frame of its own: one of before it was used again has another incarnation.
fn has_frame(segment: &Path) -> bool {
    let number = |file: &File, at| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).map(|()| u64::from_le_bytes(bytes))
    };
    let read = File::open(segment).and_then(|file| {
        let mut magic = [0; 4];
        file.read_exact_at(&mut magic, FIRST_FRAME)?;
        let (own, first) = (number(&file, SEGMENT_INCARNATION)?, number(&file, FRAME_INCARNATION)?);
        Ok(&magic == b"FRM1" && own == first)
    });
    read.unwrap_or(false)
}

/// Drops what the kernel keeps of the files below a folder, as far as it is on disk.
///
/// # Errors
/// They cannot be read.
pub(crate) fn forget(dir: &Path) -> Result<()> {
    for path in files(dir)? {
        if !path.is_file() {
            continue;
        }
        let file = File::open(&path).with_context(|| cannot_read(&path))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .with_context(|| cannot_read(&path))?;
    }
    Ok(())
}

/// Everything below a folder.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| cannot_read(&dir))? {
            let entry = entry.with_context(|| cannot_read(&dir))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_below_all_folders() {
        let dir = tempfile::tempdir().unwrap();
        let before = on_disk(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("journal")).unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let written = |name: &str| {
            let file = file(name);
            file.write_all_at(&[1; 65_536], 0).unwrap();
            file
        };
        written("a").sync_all().unwrap();
        let taken = on_disk(dir.path()).unwrap().taken - before.taken;
        assert!((65_536..200_000).contains(&taken), "{taken}");
        forget(dir.path()).unwrap();

        let of_before = on_disk(dir.path()).unwrap();
        let ahead = written("b");
        rustix::fs::fallocate(&ahead, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
        let used = written("journal/0000");
        used.write_all_at(&7_u64.to_le_bytes(), SEGMENT_INCARNATION).unwrap();
        used.write_all_at(b"FRM1", FIRST_FRAME).unwrap();
        used.write_all_at(&7_u64.to_le_bytes(), FRAME_INCARNATION).unwrap();
        for file in [&ahead, &used] {
            file.sync_all().unwrap();
        }
        let room = on_disk(dir.path()).unwrap();
        let (added, in_use) = (room.taken - of_before.taken, room.in_use() - of_before.in_use());
        assert!(added >= (1 << 20) + 65_536, "{added}");
        assert!((131_072..400_000).contains(&in_use), "{in_use}");

        // The same segment, used again.
        used.write_all_at(&8_u64.to_le_bytes(), SEGMENT_INCARNATION).unwrap();
        let again = on_disk(dir.path()).unwrap();
        assert!(again.ahead - room.ahead >= 65_536, "{again:?} {room:?}");
    }
}
