//! What the image says of itself.

use std::fs;
use std::path::Path;

/// Files that describe the image, in this order of rank.
const FILES: [&str; 2] = ["etc/icn-release", "usr/lib/os-release"];

/// Name, version and age of the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// Name and version for people.
    pub name: String,
    /// When the image was made (`BUILD_EPOCH`), in seconds since 1970; `None` where it does not
    /// say.
    pub built: Option<i64>,
}

impl Release {
    /// Reads it below a root folder.
    pub(crate) fn read(root: &Path) -> Self {
        let texts = FILES.map(|file| fs::read_to_string(root.join(file)).unwrap_or_default());
        let value = |key| texts.iter().find_map(|text| field(text, key));
        let name = value("PRETTY_NAME").unwrap_or_else(|| "ICN Node".to_owned());
        Self { name, built: value("BUILD_EPOCH").and_then(|value| value.parse().ok()) }
    }
}

/// The value of a key in os-release(5).
fn field(text: &str, key: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.trim().to_owned());
    let value = text.lines().find_map(value)?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_s_own_file_stands_before_the_general_one() {
        let root = tempfile::TempDir::new().expect("temporary folder");
        assert_eq!(Release::read(root.path()).name, "ICN Node");
        for folder in ["etc", "usr/lib"] {
            fs::create_dir_all(root.path().join(folder)).expect("folder");
        }
        let general = "ID=icn-node\nPRETTY_NAME=\"ICN Node 0.1.0 (abc)\"\nBUILD_EPOCH=1700000000\n";
        fs::write(root.path().join(FILES[1]), general).expect("file");
        let expected = Release { name: "ICN Node 0.1.0 (abc)".into(), built: Some(1_700_000_000) };
        assert_eq!(Release::read(root.path()), expected);
        fs::write(root.path().join(FILES[0]), "BUILD_EPOCH=1800000000\n").expect("file");
        let expected = Release { built: Some(1_800_000_000), ..expected };
        assert_eq!(Release::read(root.path()), expected);
    }
}
