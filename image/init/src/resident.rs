//! Memory that each service keeps resident, for the log: what grows is seen before it hurts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long after their start the services are looked at first: they are idle by then.
pub(crate) const FIRST: Duration = Duration::from_secs(30);

/// How often after that.
pub(crate) const EVERY: Duration = Duration::from_secs(3600);

/// One line with the resident memory of each service and of init, in KiB; a service without a
/// process is left out.
pub(crate) fn report<'a>(
    proc: &Path,
    groups: &Path,
    services: impl Iterator<Item = &'a str>,
) -> String {
    let init = fs::read_to_string(proc.join("self/statm")).ok();
    let mut all = init.as_deref().and_then(resident_kib).unwrap_or_default();
    let mut line = format!("resident memory in KiB: init {all}");
    for service in services {
        if let Some(kib) = of_group(proc, &groups.join(service)) {
            all += kib;
            let _ = write!(line, ", {service} {kib}");
        }
    }
    let _ = write!(line, ", all {all}");
    line
}

/// The sum over a control group's processes.
fn of_group(proc: &Path, group: &Path) -> Option<u64> {
    let pids = fs::read_to_string(group.join("cgroup.procs")).ok()?;
    let of_process = |pid: &str| {
        fs::read_to_string(proc.join(pid).join("statm")).ok().as_deref().and_then(resident_kib)
    };
    pids.lines().map(of_process).fold(None, |sum, kib| match kib {
        Some(kib) => Some(sum.unwrap_or_default() + kib),
        None => sum,
    })
}

/// The second field of proc_pid_statm(5), pages of 4 KiB, in KiB.
fn resident_kib(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_pages_of_all_processes_of_a_service_count() {
        let root = tempfile::tempdir().unwrap();
        let (proc, groups) = (root.path().join("proc"), root.path().join("groups"));
        for (pid, statm) in
            [("self", "900 300 10"), ("12", "5000 1000 7"), ("13", "9 24 0"), ("14", "broken")]
        {
            fs::create_dir_all(proc.join(pid)).unwrap();
            fs::write(proc.join(pid).join("statm"), statm).unwrap();
        }
        for (name, pids) in [("icn-agent", "12\n13\n14\n99\n"), ("chronyd", "")] {
            fs::create_dir_all(groups.join(name)).unwrap();
            fs::write(groups.join(name).join("cgroup.procs"), pids).unwrap();
        }
        assert_eq!(
            report(&proc, &groups, ["icn-agent", "chronyd", "absent"].into_iter()),
            "resident memory in KiB: init 1200, icn-agent 4096, all 5296"
        );
    }
}
