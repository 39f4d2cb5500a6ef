//! The support bundle and the inventory in words.

use crate::support::{Fact, Inventory, SupportWritten};

/// What a node is made of: a heading for each kind, a line for each part.
#[must_use]
pub fn inventory(inventory: &Inventory) -> String {
    let Inventory { machine, processors, memory, ports, disks, devices, problems } = inventory;
    let mut text = String::new();
    let parts: [(&str, &[Fact]); 6] = [
        ("Machine", machine),
        ("Processors", processors),
        ("Memory", memory),
        ("Ports", ports),
        ("Disks", disks),
        ("Devices", devices),
    ];
    for (heading, facts) in parts.iter().filter(|(_, facts)| !facts.is_empty()) {
        text.push_str(&format!("{heading}\n"));
        for Fact { name, text: said } in *facts {
            text.push_str(&format!("  {name}: {said}\n"));
        }
    }
    for problem in problems {
        text.push_str(&format!("Problem  {problem}\n"));
    }
    if text.is_empty() {
        text.push_str("the machine tells nothing of itself\n");
    }
    text
}

/// Where a bundle is, and who can open it.
#[must_use]
pub fn written(written: &SupportWritten) -> String {
    let SupportWritten { device, file, size_bytes, verified, recipients } = written;
    let checked = match verified {
        true => "read back and found the same; the stick can be pulled",
        false => "not read back: check it before you send it",
    };
    let mut text = format!("{file}\n  on {device}, {size_bytes} bytes, {checked}\n");
    for recipient in recipients {
        text.push_str(&format!("  can be opened with the private key of {recipient}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_has_a_heading() {
        let fact = |name: &str, text: &str| Fact { name: name.to_owned(), text: text.to_owned() };
        let known = Inventory {
            machine: vec![fact("maker", "Example"), fact("serial", "SN1")],
            disks: vec![fact("/dev/sda", "ST4000")],
            problems: vec!["cannot read a file".to_owned()],
            ..Inventory::default()
        };
        let expected = "Machine\n  maker: Example\n  serial: SN1\nDisks\n  /dev/sda: ST4000\n\
                        Problem  cannot read a file\n";
        assert_eq!(inventory(&known), expected);
        assert_eq!(inventory(&Inventory::default()), "the machine tells nothing of itself\n");
    }

    #[test]
    fn a_bundle_that_was_not_compared_says_so() {
        let mut bundle = SupportWritten {
            device: "/dev/sdc1".to_owned(),
            file: "b.age".to_owned(),
            size_bytes: 7,
            verified: true,
            recipients: vec!["age1x".to_owned()],
        };
        assert!(written(&bundle).contains("found the same"));
        assert!(written(&bundle).ends_with("private key of age1x\n"));
        bundle.verified = false;
        assert!(written(&bundle).contains("not read back"));
    }
}
