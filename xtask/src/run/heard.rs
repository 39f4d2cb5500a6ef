//! What the machine's log told so far of its node, read as it grows.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use test_network::{daemon_in, gas_in, label_in};

/// What is known of the node.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Bytes of the log that were read.
    read: u64,
    /// The begin of a line whose end is not there yet.
    rest: Vec<u8>,
    /// Its daemon address, as it was told last.
    pub(crate) daemon: Option<String>,
    /// The address that it pays gas from, likewise.
    pub(crate) gas: Option<String>,
    /// Its id, likewise.
    pub(crate) label: Option<String>,
    /// Whether it signed a binding.
    pub(crate) has_binding: bool,
    /// Whether it was in session with an oracle.
    pub(crate) was_in_session: bool,
}

impl Heard {
    /// Reads what is new in the log, up to its last whole line. A log that is shorter than what was read is another one,
    /// maybe of a node with other disks: nothing of the one before is known any more.
    ///
    /// # Errors
    /// It cannot be read; that there is none is no error.
    pub(crate) fn listen(&mut self, log: &Path) -> io::Result<()> {
        let mut file = match File::open(log) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.read {
            *self = Self::default();
        }
        file.seek(SeekFrom::Start(self.read))?;
        let new = file.read_to_end(&mut self.rest)?;
        self.read = self.read.saturating_add(u64::try_from(new).unwrap_or(u64::MAX));
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let begun = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, begun);
        self.take_in(&String::from_utf8_lossy(&lines));
        Ok(())
    }

    fn take_in(&mut self, lines: &str) {
        let newest = |of: fn(&str) -> Option<String>, known: &mut Option<String>| {
            *known = of(lines).or(known.take());
        };
        newest(daemon_in, &mut self.daemon);
        newest(gas_in, &mut self.gas);
        newest(label_in, &mut self.label);
        self.has_binding |= lines.contains("signed a binding");
        self.was_in_session |= lines.contains("in session");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn each_line_of_a_log_is_heard_once_it_is_whole() {
        let path = std::env::temp_dir().join(format!("icn-heard-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let mut heard = Heard::default();
        heard.listen(&path).unwrap();
        let mut log = File::create(&path).unwrap();
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        write!(log, "x daemon=0x{one}\ny daemon=0x{}", &two[..20]).unwrap();
        heard.listen(&path).unwrap();
        assert_eq!(heard.daemon, Some(format!("0x{one}")));
        writeln!(log, "{} in session", &two[20..]).unwrap();
        heard.listen(&path).unwrap();
        assert_eq!(heard.daemon, Some(format!("0x{two}")));
        assert!(heard.was_in_session && !heard.has_binding);
        writeln!(log, "signed a binding label=\"{}\"", "a".repeat(32)).unwrap();
        heard.listen(&path).unwrap();
        // What was told before is still known, and nothing is read twice.
        assert!(heard.has_binding && heard.daemon == Some(format!("0x{two}")));
        assert_eq!(heard.label, Some("a".repeat(32)));
        assert_eq!(heard.read, fs::metadata(&path).unwrap().len());
        // A machine that was started again begins a log of its own, and its node may be another.
        fs::write(&path, format!("gas=0x{one}\n")).unwrap();
        heard.listen(&path).unwrap();
        assert_eq!(heard.gas, Some(format!("0x{one}")));
        assert_eq!((heard.daemon, heard.label), (None, None));
        assert!(!heard.has_binding && !heard.was_in_session);
        fs::remove_file(&path).unwrap();
    }
}
