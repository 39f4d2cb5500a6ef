//! The pool in words. Pure.

use std::fmt::Write as _;

use crate::pool::{
    BodyMemory, BucketUse, Calls, Happening, Memory, PoolEvent, PoolStatus, PoolVolume,
    PoolVolumeState, Standby,
};
use disk_manager_plan::report::Bytes;

use super::at;

/// The state of the pool.
#[must_use]
pub fn status(status: &PoolStatus) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("pool", status.awaited.clone().unwrap_or_else(|| "open".to_owned()));
    if let Some(far) = status.rebuilding.filter(|far| far.groups > 0) {
        line("index", format!("being made anew, {} of {} groups read", far.read, far.groups));
    }
    match status.standby {
        Some(Standby::None) => line("standby", "the index has none".to_owned()),
        Some(Standby::Filling { copied }) => {
            line("standby", format!("being filled, {copied} entries copied"));
        }
        Some(Standby::InStep) => line("standby", "in step with the index".to_owned()),
        None => {}
    }
    if let Some(spread) = status.spread {
        let spare = match status.spare_volumes {
            Some(0) => "no disk may fail now".to_owned(),
            Some(1) => "one disk may fail".to_owned(),
            Some(more) => format!("{more} disks may fail"),
            None => "how many disks may fail is not known".to_owned(),
        };
        let (data, parity, copies) = (spread.data, spread.parity, spread.copies);
        line("new data", format!("{data}+{parity} parts, {copies} journal copies; {spare}"));
    }
    let space = status.space;
    line(
        "space",
        format!(
            "{} of {} used, {} kept free, room for {} of objects",
            Bytes(space.used),
            Bytes(space.total),
            Bytes(space.reserved),
            Bytes(space.usable)
        ),
    );
    if let Some(content) = status.content {
        let (plain, stored) = (Bytes(content.plain), Bytes(content.stored));
        line("content", format!("{plain} of objects, {stored} of groups are needed for it"));
    }
    line("healing", healing(status));
    line(
        "scrub",
        status.scrub.map_or("not begun".to_owned(), |scrub| {
            format!("{} of {} groups read, until {}", scrub.read, scrub.groups, at(scrub.ends_ms))
        }),
    );
    let packing = status.packing;
    let now = if packing.running { ", being packed" } else { "" };
    line("journals", format!("{} in {} segments{now}", Bytes(packing.bytes), packing.segments));
    line("memory", memory(&status.memory));
    for one in &status.volumes {
        line("volume", volume(one));
    }
    text
}

/// Whether somebody should look at it.
#[must_use]
pub fn needs_attention(status: &PoolStatus) -> bool {
    let is_well = |state: &PoolVolumeState| {
        use PoolVolumeState as State;
        matches!(state, State::InUse | State::Retired | State::Retiring { waits: None, .. })
    };
    let healing = &status.healing;
    status.awaited.is_some()
        || healing.lost + healing.damaged + healing.by_missing.iter().sum::<u64>() > 0
        || !status.volumes.iter().all(|volume| is_well(&volume.state))
}

fn memory(memory: &Memory) -> String {
    let known =
        |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), |all| Bytes(all).to_string());
    let mut text = format!("{} occupied of {}", known(memory.resident), known(memory.machine));
    if let Some(limit) = memory.limit {
        let _ = write!(text, " (at most {})", Bytes(limit));
    }
    let BodyMemory { total, held, waiting, refused } = memory.bodies;
    let _ = write!(text, "; bodies {} of {}", Bytes(held), Bytes(total));
    let _ = write!(text, ", {waiting} requests wait, {refused} were told to slow down");
    if let Some(index) = memory.index {
        let (cache, buffers) = (Bytes(index.cache_held), Bytes(index.buffers_held));
        let (all, most) = (Bytes(index.cache_total), Bytes(index.buffers_total));
        let _ = write!(text, "; index cache {cache} of {all}, write buffers {buffers} of {most}");
    }
    text
}

fn healing(status: &PoolStatus) -> String {
    let healing = &status.healing;
    let wanting: u64 = healing.by_missing.iter().sum();
    if wanting + healing.damaged + healing.lost == 0 {
        return format!("nothing is missing of {} groups", healing.groups);
    }
    let mut text = format!("of {} groups", healing.groups);
    for (missing, groups) in (1..).zip(&healing.by_missing).filter(|(_, groups)| **groups > 0) {
        let _ = write!(text, ", {groups} miss {missing} parts");
    }
    if healing.lost > 0 {
        let _ = write!(text, ", {} cannot be read", healing.lost);
    }
    if healing.damaged > 0 {
        let _ = write!(text, ", {} damaged parts", healing.damaged);
    }
    let _ = write!(text, "; {} to be made", Bytes(healing.wanting_bytes));
    if let Some((rate, left)) = healing.bytes_per_second.zip(healing.seconds_left) {
        let _ = write!(text, ", {} a second, about {left} s left", Bytes(rate));
    }
    text
}

fn volume(volume: &PoolVolume) -> String {
    let state = match &volume.state {
        PoolVolumeState::Attaching => "being read in".to_owned(),
        PoolVolumeState::InUse => "in use".to_owned(),
        PoolVolumeState::Retiring { began_with, left, waits } => {
            let waits = waits.as_ref().map_or(String::new(), |waits| format!("; waits: {waits}"));
            format!("being emptied, {left} of {began_with} files left{waits}")
        }
        PoolVolumeState::Retired => "retired: take the disk out".to_owned(),
        PoolVolumeState::Fenced { reason } => format!("failed: {reason}"),
        PoolVolumeState::Missing => format!("missing since {}", at(volume.since_ms)),
    };
    let mut text = format!("{} {state}", volume.id);
    if let Some(class) = &volume.class {
        let _ = write!(text, "; {class}");
    }
    if volume.capacity_bytes > 0 {
        let (free, all) = (Bytes(volume.free_bytes), Bytes(volume.capacity_bytes));
        let _ = write!(text, ", {free} of {all} free");
    }
    if volume.has_index {
        text.push_str(", has the index");
    }
    if volume.has_standby {
        text.push_str(", has the standby of the index");
    }
    if volume.is_hot {
        text.push_str(", too hot: written to last");
    }
    let errors = |calls: &Calls| calls.errors;
    let failed = [&volume.reads, &volume.writes, &volume.syncs].map(errors);
    if failed != [0; 3] {
        let [reads, writes, syncs] = failed;
        let _ = write!(text, "; failed reads {reads}, writes {writes}, syncs {syncs}");
    }
    if volume.damaged_blocks + volume.repaired_shards > 0 {
        let (damaged, repaired) = (volume.damaged_blocks, volume.repaired_shards);
        let _ = write!(text, "; damaged blocks {damaged}, parts made anew {repaired}");
    }
    text
}

/// Events, one a line.
#[must_use]
pub fn events(events: &[PoolEvent]) -> String {
    let mut text = String::new();
    for event in events {
        let volume = event.volume.as_ref().map_or(String::new(), |id| format!("volume {id} "));
        let (number, at, what) = (event.number, at(event.at_ms), happening(&event.what));
        let _ = writeln!(text, "{number:>5} {at} {volume}{what}");
    }
    text
}

fn happening(what: &Happening) -> String {
    match what {
        Happening::Attached => "is in use".to_owned(),
        Happening::Joined => "joined the pool".to_owned(),
        Happening::Replaced => "is missing, but nothing of it is needed any more".to_owned(),
        Happening::Detached => "went".to_owned(),
        Happening::Fenced { reason } => format!("failed: {reason}"),
        Happening::Retiring => "is being emptied".to_owned(),
        Happening::RetireCancelled => "stays in use".to_owned(),
        Happening::Retired => "is retired, its key is destroyed".to_owned(),
        Happening::KeyLeft { reason } => {
            format!("is retired, but its key may be left on it: {reason}; destroy the disk")
        }
        Happening::Forgotten => "was given up".to_owned(),
        Happening::Damaged { group, shard } => format!("part {shard} of group {group} is damaged"),
        Happening::Repaired { group, shard } => {
            format!("part {shard} of group {group} was made anew")
        }
        Happening::HealingBegan { groups } => format!("healing of {groups} groups began"),
        Happening::HealingEnded { shards, left } => {
            format!("healing ended: {shards} parts made, {left} groups still miss some")
        }
        Happening::IndexLost { reason } => format!("the index is closed: {reason}"),
        Happening::IndexRebuilt { took_ms } => format!("the index was made anew in {took_ms} ms"),
        Happening::IndexTakenOver { took_ms } => {
            format!("has the index now: the standby took over in {took_ms} ms")
        }
        Happening::Full => "there is no room for new objects".to_owned(),
        Happening::HasRoom => "there is room again".to_owned(),
    }
}

/// Whether the index was made anew.
#[must_use]
pub fn is_rebuilt(what: &Happening) -> bool {
    matches!(what, Happening::IndexRebuilt { .. })
}

/// Whether the index was closed.
#[must_use]
pub fn is_lost(what: &Happening) -> bool {
    matches!(what, Happening::IndexLost { .. })
}

/// What buckets hold and what was used of them, one a line.
#[must_use]
pub fn usage(buckets: &[BucketUse]) -> String {
    let head = ["objects", "bytes", "byte hours", "bytes in", "bytes out", "requests", "bucket"];
    let mut text = line(head.map(str::to_owned));
    for used in buckets {
        let bytes = used.bytes.saturating_add(used.part_bytes);
        let requests = used.reads.saturating_add(used.writes).saturating_add(used.deletes);
        let numbers =
            [used.objects, bytes, used.byte_hours, used.bytes_in, used.bytes_out, requests];
        let [a, b, c, d, e, f] = numbers.map(|number| number.to_string());
        let deleted = if used.is_deleted { " (deleted)" } else { "" };
        text.push_str(&line([a, b, c, d, e, f, format!("{}{deleted}", used.bucket)]));
    }
    text
}

fn line([objects, bytes, hours, into, out, requests, bucket]: [String; 7]) -> String {
    format!("{objects:>12} {bytes:>16} {hours:>16} {into:>16} {out:>16} {requests:>12}  {bucket}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_heals_and_a_volume_that_leaves_are_told_in_words() {
        let volume = PoolVolume {
            id: "disk-1".to_owned(),
            number: Some(0),
            class: Some("ssd".to_owned()),
            path: None,
            state: PoolVolumeState::Retiring { began_with: 9, left: 4, waits: None },
            since_ms: 0,
            capacity_bytes: 2 << 30,
            free_bytes: 1 << 30,
            has_index: true,
            has_standby: false,
            is_hot: true,
            files: 4,
            reads: Calls::default(),
            writes: Calls { errors: 2, ..Calls::default() },
            syncs: Calls::default(),
            damaged_blocks: 0,
            repaired_shards: 0,
        };
        let mut pool = PoolStatus { volumes: vec![volume], ..PoolStatus::default() };
        (pool.healing.groups, pool.healing.by_missing) = (7, vec![2, 1]);
        let text = status(&pool);
        assert!(text.contains("of 7 groups, 2 miss 1 parts, 1 miss 2 parts; "), "{text}");
        assert!(text.contains("disk-1 being emptied, 4 of 9 files left; ssd, "), "{text}");
        assert!(
            text.contains(
                "has the index, too hot: written to last; failed reads 0, writes 2, syncs 0"
            ),
            "{text}"
        );
        assert!(!text.contains("new data") && !text.contains("standby"), "{text}");
        pool.standby = Some(Standby::Filling { copied: 70 });
        (pool.volumes[0].has_index, pool.volumes[0].has_standby) = (false, true);
        let text = status(&pool);
        assert!(text.contains("standby   being filled, 70 entries copied"), "{text}");
        assert!(
            text.contains("free, has the standby of the index, too hot: written to last; failed"),
            "{text}"
        );
    }

    #[test]
    fn memory_is_told_with_its_bounds_and_what_is_not_known() {
        let bodies = BodyMemory { total: 128 << 20, held: 1 << 20, waiting: 2, refused: 3 };
        let mut memory = Memory { bodies, ..Memory::default() };
        let wanted = "unknown occupied of unknown; bodies 1.0 MB of 134.2 MB, 2 requests wait, 3 were \
                      told to slow down";
        assert_eq!(super::memory(&memory), wanted);
        (memory.resident, memory.machine, memory.limit) = (Some(1), Some(2), Some(3));
        memory.index = Some(crate::pool::IndexMemory::default());
        let text = super::memory(&memory);
        assert!(text.starts_with("1 B occupied of 2 B (at most 3 B); bodies "), "{text}");
        assert!(text.ends_with("; index cache 0 B of 0 B, write buffers 0 B of 0 B"), "{text}");
    }

    #[test]
    fn events_stand_one_a_line_with_their_time() {
        let what = Happening::Fenced { reason: "a sync failed".to_owned() };
        let event = PoolEvent { number: 3, at_ms: 1000, volume: Some("v".to_owned()), what };
        let wanted = "    3 1970-01-01T00:00:01Z volume v failed: a sync failed\n";
        assert_eq!(events(&[event]), wanted);
    }
}
