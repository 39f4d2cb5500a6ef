//! Settings of the kernel.

use std::fs;
use std::path::Path;

/// Name below /proc/sys, and value.
const SETTINGS: [(&str, &str); 15] = [
    // The agent is unprivileged and serves HTTP and HTTPS.
    ("net/ipv4/ip_unprivileged_port_start", "80"),
    // And it asks other machines for an echo; its group is that of `users::AGENT`.
    ("net/ipv4/ping_group_range", "900 900"),
    // The consoles draw on the screen: only what stops the machine may write between.
    ("kernel/printk", "3 4 1 3"),
    // A machine that has lost its way restarts, rather than going on with broken memory.
    ("kernel/panic_on_oops", "1"),
    ("kernel/panic", "30"),
    ("kernel/sysrq", "0"),
    ("kernel/kptr_restrict", "2"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/unprivileged_bpf_disabled", "1"),
    ("fs/suid_dumpable", "0"),
    ("fs/protected_symlinks", "1"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_regular", "2"),
    ("fs/protected_fifos", "2"),
    // Neighbours learn at once that an address has moved to this machine.
    ("net/ipv4/conf/all/arp_notify", "1"),
];

/// Applies all; gives what failed, in words.
pub(crate) fn apply(root: &Path) -> Vec<String> {
    SETTINGS
        .iter()
        .filter_map(|(name, value)| {
            let error = fs::write(root.join(name), value).err()?;
            Some(format!("cannot set {name} to {value}: {error}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_written_and_a_failure_told() {
        let root = tempfile::TempDir::new().expect("temporary folder");
        assert_eq!(apply(root.path()).len(), SETTINGS.len());
        for (name, _) in SETTINGS {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        }
        assert_eq!(apply(root.path()), Vec::<String>::new());
        let printk = fs::read_to_string(root.path().join("kernel/printk")).expect("file");
        assert_eq!(printk, "3 4 1 3");
        let path = root.path().join("net/ipv4/ping_group_range");
        let agent = crate::users::AGENT;
        assert_eq!(fs::read_to_string(path).expect("file"), format!("{agent} {agent}"));
    }
}
