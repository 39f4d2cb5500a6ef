//! Bonds and VLANs.

use super::{Checked, port_name, quoted};
use crate::{BondMode, PortName};

/// Names that are folders or files beside those of links below /proc/sys/net and /sys/class/net.
const TAKEN: [&str; 3] = ["all", "default", "bonding_masters"];

/// The name of a link that the node makes.
pub(crate) fn link_name(text: &str) -> Checked<PortName> {
    match port_name(text) {
        Ok(PortName::Name(name)) if !TAKEN.contains(&text) => Ok(PortName::Name(name)),
        _ => Err(format!(
            "{} is not a name for it: write 1 to 15 letters, digits, dots and dashes, such as \
             \"bond0\" or \"storage\"",
            quoted(text)
        )),
    }
}

pub(crate) fn bond_mode(text: &str) -> Checked<BondMode> {
    match text {
        "lacp" => Ok(BondMode::Lacp),
        "active-backup" => Ok(BondMode::ActiveBackup),
        _ => Err(format!(
            "{} is not how ports work as one: write \"lacp\" or \"active-backup\"",
            quoted(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_the_node_makes_has_a_name_of_its_own() {
        for text in ["bond0", "eno1.100", "storage"] {
            assert_eq!(link_name(text), Ok(PortName::Name(text.to_owned())), "{text}");
        }
        for text in ["", "lo", "all", "default", "52:54:00:12:34:56", "a/b", "bonding_masters"] {
            assert!(link_name(text).is_err(), "{text}");
        }
    }
}
