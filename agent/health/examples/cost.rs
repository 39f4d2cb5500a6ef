//! What a round of readings of this machine costs: processor time of all sources that are files, and what share of
//! one processor that is at one round a minute. Needs no privilege.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_health::host::{
    disk_activity, memory_modules, network, pcie, processor, sensors, slots, uptime,
};
use agent_health::{Gathered, Trends};

/// Rounds that are measured.
const ROUNDS: u32 = 200;

/// From one round to the next on a node.
const PERIOD: Duration = Duration::from_secs(60);

fn main() {
    let (sys, proc) = (Path::new("/sys"), Path::new("/proc"));
    let names = BTreeMap::new();
    let mut trends = Trends::default();
    let sources: [(&str, &dyn Fn() -> Gathered); 6] = [
        ("memory modules", &|| memory_modules::gather(sys)),
        ("processors", &|| processor::gather(sys)),
        ("PCI Express", &|| pcie::gather(sys)),
        ("sensors", &|| sensors::gather(sys)),
        ("network ports", &|| network::gather(sys)),
        ("enclosures", &|| slots::gather(sys, &names)),
    ];
    let mut total = Duration::ZERO;
    for (name, gather) in sources {
        let begin = Instant::now();
        let mut samples = 0;
        for round in 0..ROUNDS {
            let gathered = gather();
            samples = gathered.samples.len();
            trends.record(u64::from(round), &gathered.samples);
            drop(gathered.assess(&trends, u64::from(round)));
        }
        let each = begin.elapsed() / ROUNDS;
        total += each;
        println!("{name:<16} {each:>10.1?} {samples:>5} numbers");
    }
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let _ = (disk_activity::read_activity(proc, &names), uptime::read_uptime(proc));
    }
    let each = begin.elapsed() / ROUNDS;
    total += each;
    println!("{:<16} {each:>10.1?}", "disks, uptime");
    let share = total.as_secs_f64() / PERIOD.as_secs_f64() * 100.0;
    println!("a round takes {total:.1?}: {share:.4} % of one processor at one a minute");
}
