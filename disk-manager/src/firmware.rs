//! Which partition the firmware's boot loader was started from.

use std::path::Path;

use disk_manager_plan::layout::Partition;
use uuid::Uuid;

/// Where the kernel shows EFI variables.
pub const EFIVARS: &str = "/sys/firmware/efi/efivars";

/// The variable, with the GUID of its vendor (Boot Loader Interface, systemd.io/BOOT_LOADER_INTERFACE).
const VARIABLE: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Bytes of attributes before an EFI variable's value (Linux Documentation/filesystems/efivarfs).
const ATTRIBUTES: usize = 4;

/// The partition that the boot loader was started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loader(Uuid);

impl Loader {
    /// Reads the variable below `efivars`; `None` where the machine was not booted by a loader that
    /// sets it.
    #[must_use]
    pub fn read(efivars: &Path) -> Option<Self> {
        let bytes = std::fs::read(efivars.join(VARIABLE)).ok()?;
        Self::parse(bytes.get(ATTRIBUTES..)?)
    }

    /// The value is the GUID as text in UTF-16, little-endian, with a zero at its end.
    fn parse(value: &[u8]) -> Option<Self> {
        let units = value
            .chunks_exact(2)
            .filter_map(|unit| Some(u16::from_le_bytes(unit.try_into().ok()?)));
        let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        Uuid::parse_str(String::from_utf16(&text).ok()?.trim()).ok().map(Self)
    }

    /// Whether the partition is one of these.
    #[must_use]
    pub fn is_among(self, partitions: &[Partition]) -> bool {
        partitions.iter().any(|partition| partition.guid == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_partition_is_read_as_systemd_boot_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let text = "1C4E5EED-0002-4000-8000-49434E444154\0";
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        std::fs::write(folder.path().join(VARIABLE), bytes).unwrap();
        let expected = Loader(disk_manager_plan::layout::TYPE_DATA);
        assert_eq!(Loader::read(folder.path()), Some(expected));
    }

    #[test]
    fn a_machine_without_the_variable_has_no_loader() {
        assert_eq!(Loader::read(Path::new("/nonexistent")), None);
        assert_eq!(Loader::parse(b"n\0o\0t\0"), None);
        assert_eq!(Loader::parse(b"odd"), None);
    }
}
