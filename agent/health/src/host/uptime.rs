//! How long the machine runs (/proc/uptime).

use std::path::Path;
use std::time::Duration;

use super::sysfs;
use crate::reading::Reading;
use crate::sample::{Family, Sample};

const UPTIME: Family = Family::gauge("machine_uptime_seconds", "How long the machine runs");

/// What is told of it.
pub(crate) const FAMILIES: &[Family] = &[UPTIME];

/// Reads it below `proc`, which is `/proc` but for tests.
#[must_use]
pub fn read_uptime(proc: &Path) -> Reading<Duration> {
    let path = proc.join("uptime");
    match sysfs::text(&path) {
        Ok(Some(text)) => match parse(&text) {
            Some(uptime) => Reading::Known(uptime),
            None => Reading::Unknown { reason: format!("{}: no time", path.display()) },
        },
        Ok(None) => Reading::Absent,
        Err(reason) => Reading::Unknown { reason },
    }
}

fn parse(text: &str) -> Option<Duration> {
    let seconds: f64 = text.split(' ').next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The number.
#[must_use]
pub fn samples(uptime: &Duration) -> Vec<Sample> {
    vec![UPTIME.sample(Vec::new(), uptime.as_secs_f64())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysfs::fake::tree;

    #[test]
    fn the_first_number_is_the_time() {
        let root = tree(&[("uptime", "3600.25 7000.50")]);
        assert_eq!(read_uptime(root.path()), Reading::Known(Duration::from_millis(3_600_250)));
        assert!(read_uptime(Path::new("/nonexistent")) == Reading::Absent);
        for text in ["", "-1 2", "soon", "inf 0", "1e400 0"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
