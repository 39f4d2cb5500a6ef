//! The power button: input devices that can send the key "power".

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `KEY_POWER` and `EV_KEY` of linux/input-event-codes.h.
const KEY_POWER: u16 = 116;
const EV_KEY: u16 = 1;

/// Size of `struct input_event` on 64-bit machines: time 16, type 2, code 2, value 4 bytes.
const EVENT_SIZE: usize = 24;

/// Most devices that are listened to: a button or two, and keyboards with a power key.
const MAX_BUTTONS: usize = 16;

/// The devices that are open.
#[derive(Debug, Default)]
pub(crate) struct Buttons {
    open: Vec<(PathBuf, File)>,
}

impl Buttons {
    /// Opens those that have come since the last call; gives what to log.
    pub(crate) fn look(&mut self, sysfs: &Path, devices: &Path) -> Vec<String> {
        let mut messages = Vec::new();
        let entries = fs::read_dir(sysfs.join("class/input")).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let path = devices.join("input").join(&name);
            let known = self.open.iter().any(|(other, _)| *other == path);
            let is_event = name.to_str().is_some_and(|name| name.starts_with("event"));
            if known || !is_event || self.open.len() >= MAX_BUTTONS {
                continue;
            }
            let keys = fs::read_to_string(entry.path().join("device/capabilities/key"));
            if !has_key(&keys.unwrap_or_default(), KEY_POWER) {
                continue;
            }
            let title = fs::read_to_string(entry.path().join("device/name")).unwrap_or_default();
            let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
            match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
                Ok(device) => {
                    messages.push(format!("power button: {} ({})", title.trim(), path.display()));
                    self.open.push((path, device));
                }
                Err(error) => messages.push(format!("cannot open {}: {error}", path.display())),
            }
        }
        messages
    }

    /// The open devices, for poll.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &File> {
        self.open.iter().map(|(_, device)| device)
    }

    /// Reads what has come and says whether a power button was pressed. A device that has gone is
    /// closed.
    pub(crate) fn pressed(&mut self) -> bool {
        let mut pressed = false;
        self.open.retain_mut(|(_, device)| {
            let mut buffer = [0; EVENT_SIZE * 16];
            loop {
                match device.read(&mut buffer) {
                    Ok(0) => return false,
                    Ok(length) => pressed |= is_press(buffer.get(..length).unwrap_or_default()),
                    Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                }
            }
        });
        pressed
    }
}

/// Whether a bitmap as sysfs prints it (hexadecimal words of 64 bits, the highest first) has a
/// key.
fn has_key(bitmap: &str, key: u16) -> bool {
    let (word, bit) = (usize::from(key / 64), key % 64);
    let word = bitmap.split_whitespace().rev().nth(word);
    let word = word.and_then(|word| u64::from_str_radix(word, 16).ok());
    word.is_some_and(|word| word >> bit & 1 == 1)
}

/// Whether one of the events is the press (not the release) of the power key.
fn is_press(events: &[u8]) -> bool {
    events.chunks_exact(EVENT_SIZE).any(|event| {
        let number = |at: usize| {
            let bytes = event.get(at..at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
            bytes.map(u16::from_ne_bytes)
        };
        number(16) == Some(EV_KEY) && number(18) == Some(KEY_POWER) && number(20) == Some(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut event = vec![7; 16];
        event.extend(kind.to_ne_bytes());
        event.extend(code.to_ne_bytes());
        event.extend(value.to_ne_bytes());
        event
    }

    #[test]
    fn only_the_press_of_the_power_key_counts() {
        let (press, release) = (event(EV_KEY, KEY_POWER, 1), event(EV_KEY, KEY_POWER, 0));
        assert!(is_press(&press));
        assert!(is_press(&[event(0, 0, 0), press.clone()].concat()));
        for other in [release, event(EV_KEY, 30, 1), event(4, KEY_POWER, 1), vec![], vec![1; 23]] {
            assert!(!is_press(&other));
        }
    }

    #[test]
    fn the_key_is_found_in_the_kernel_s_bitmap() {
        assert!(has_key("10000000000000 0\n", KEY_POWER));
        for none in ["", "0", "10000000000000", "1000000000000 0", "zz 0", "10000000000000 0 0"] {
            assert!(!has_key(none, KEY_POWER), "{none}");
        }
    }

    #[test]
    fn only_devices_with_the_key_are_opened_and_a_press_is_seen() {
        let root = tempfile::TempDir::new().expect("temporary folder");
        let (sysfs, devices) = (root.path().join("sys"), root.path().join("dev"));
        for (name, keys) in [("event0", "10000000000000 0"), ("event1", "fe"), ("mice", "")] {
            let folder = sysfs.join("class/input").join(name).join("device/capabilities");
            fs::create_dir_all(&folder).expect("folder");
            fs::write(folder.join("key"), keys).expect("file");
            fs::create_dir_all(devices.join("input")).expect("folder");
            let content = [event(EV_KEY, 30, 1), event(EV_KEY, KEY_POWER, 1)].concat();
            fs::write(devices.join("input").join(name), content).expect("file");
        }
        let mut buttons = Buttons::default();
        assert_eq!(buttons.look(&sysfs, &devices).len(), 1);
        assert_eq!(buttons.look(&sysfs, &devices), Vec::<String>::new());
        assert!(buttons.pressed());
        assert_eq!(buttons.devices().count(), 0, "a device at its end is closed");
    }
}
