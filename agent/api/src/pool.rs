//! The storage pool on the control socket: its state, its events, and what buckets hold. Part of version 1
//! of the wire form in [`crate::control`].

use serde::{Deserialize, Serialize};

/// The most events that one reply carries; at some 300 bytes each far below
/// [`crate::control::REPLY_MAX`].
pub const EVENTS_MAX: usize = 1000;

/// The most buckets that one reply carries; at some 450 bytes each below
/// [`crate::control::REPLY_MAX`].
pub const BUCKETS_MAX: usize = 5000;

/// The state of the pool. Times are milliseconds since 1970, sizes bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Why nothing is served, in words; none while the store is open.
    pub awaited: Option<String>,
    /// The index is being made anew.
    pub rebuilding: Option<Rebuilding>,
    /// How far the standby of the index is; none while the store is not open.
    #[serde(default)]
    pub standby: Option<Standby>,
    /// How what is new is spread; none while the store is not open.
    pub spread: Option<Spread>,
    /// How many volumes may still be lost without any object; none while that is not known.
    pub spare_volumes: Option<u32>,
    /// Room on the volumes in use.
    pub space: Space,
    /// How much is stored; none while that is not known.
    #[serde(default)]
    pub content: Option<Content>,
    /// What is missing, and how far it is made anew.
    pub healing: Healing,
    /// How far the scrub has come; none before its first round.
    pub scrub: Option<Scrub>,
    /// The journals.
    pub packing: Packing,
    /// What memory is used for, and how much there is.
    #[serde(default)]
    pub memory: Memory,
    /// Every volume of the pool, and retired ones that are still plugged in.
    pub volumes: Vec<PoolVolume>,
}

/// How far an index is that is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilding {
    /// Packed groups that were read.
    pub read: u64,
    /// All of them; 0 until they are counted.
    pub groups: u64,
}

/// How far the standby of the index is: a second copy, which takes over when the index's volume goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standby {
    /// There is none.
    None,
    /// It is being filled.
    Filling {
        /// Entries that were copied.
        copied: u64,
    },
    /// It has all that the index has.
    InStep,
}

/// How what is new is spread over volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Parts of each row with content.
    pub data: u8,
    /// Parts of each row that may be lost.
    pub parity: u8,
    /// Copies of what is in the journals.
    pub copies: u8,
}

/// How much is stored, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Objects and parts of open uploads, as clients see them.
    pub plain: u64,
    /// What that takes in groups without redundancy, compressed, with its records; what stands in the journals
    /// only is not in it.
    pub stored: u64,
}

/// Room on the volumes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Space {
    /// Of their file systems, in all.
    pub total: u64,
    /// Taken.
    pub used: u64,
    /// Kept free for packing and cleaning.
    pub reserved: u64,
    /// Bytes of objects that still fit, about, with their redundancy.
    pub usable: u64,
}

/// What is missing, and how far it is made anew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Healing {
    /// Groups.
    pub groups: u64,
    /// Groups by how many of their shards are missing, from one on.
    pub by_missing: Vec<u64>,
    /// Groups of which more is missing than may be.
    pub lost: u64,
    /// Damaged shards that are known and not made anew yet.
    pub damaged: u64,
    /// Bytes that are to be made, about.
    pub wanting_bytes: u64,
    /// When healing began; none while nothing is done.
    pub since_ms: Option<u64>,
    /// Shards that were made since.
    pub made_shards: u64,
    /// Bytes that were made since.
    pub made_bytes: u64,
    /// Bytes a second since then; none as long as that is not known.
    pub bytes_per_second: Option<u64>,
    /// How long it will take at this rate; none as long as that is not known.
    pub seconds_left: Option<u64>,
}

/// How far the scrub has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// When this round began.
    pub begun_ms: u64,
    /// When it will have taken its time.
    pub ends_ms: u64,
    /// Groups that were read in it.
    pub read: u64,
    /// All groups.
    pub groups: u64,
}

/// The journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Packing {
    /// Whether a pass is under way.
    pub running: bool,
    /// Segments in use.
    pub segments: u64,
    /// Bytes of records in them.
    pub bytes: u64,
    /// Whether something that failed may still take effect, until a pass.
    pub in_doubt: bool,
}

/// What memory is used for, and how much there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// For the bodies of requests.
    pub bodies: BodyMemory,
    /// Of the index; none while the store is not open.
    pub index: Option<IndexMemory>,
    /// That the agent occupies in all; none where that is not known.
    pub resident: Option<u64>,
    /// Of the machine; none where that is not known.
    pub machine: Option<u64>,
    /// That the agent's control group may take; none where that is not limited or not known.
    pub limit: Option<u64>,
}

/// Memory for the bodies of requests, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BodyMemory {
    /// That all requests may hold together.
    pub total: u64,
    /// That requests hold now.
    pub held: u64,
    /// Requests that wait for some.
    pub waiting: u64,
    /// Requests that were answered with `SlowDown` since the agent was started.
    pub refused: u64,
}

/// Memory of the index, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IndexMemory {
    /// The most that its cache may take.
    pub cache_total: u64,
    /// What the cache takes now.
    pub cache_held: u64,
    /// The most that its write buffers may take.
    pub buffers_total: u64,
    /// What the write buffers take now.
    pub buffers_held: u64,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolVolume {
    /// Its UUID, as in the disk report.
    pub id: String,
    /// Its number in the pool; none before it has one.
    pub number: Option<u16>,
    /// `hdd`, `ssd` or `nvme`; none where that is not known.
    pub class: Option<String>,
    /// Where it is mounted; none while it is missing.
    pub path: Option<String>,
    /// Whether it can be used.
    #[serde(flatten)]
    pub state: PoolVolumeState,
    /// When it came to this state.
    pub since_ms: u64,
    /// Size of its file system; 0 while it is missing.
    pub capacity_bytes: u64,
    /// Bytes that it still takes, without what is kept free.
    pub free_bytes: u64,
    /// Whether the index is on it.
    pub has_index: bool,
    /// Whether the standby of the index is on it, or becomes it.
    #[serde(default)]
    pub has_standby: bool,
    /// Whether its disk is too hot: what is new goes elsewhere where that is possible.
    #[serde(default)]
    pub is_hot: bool,
    /// Shards and journal segments on it.
    pub files: u64,
    /// Reads since it was attached.
    pub reads: Calls,
    /// Writes since it was attached.
    pub writes: Calls,
    /// Syncs since it was attached.
    pub syncs: Calls,
    /// Damaged blocks that were met on it since the store was opened.
    pub damaged_blocks: u64,
    /// Shards that were made anew on it since the store was opened.
    pub repaired_shards: u64,
}

/// Whether a volume can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum PoolVolumeState {
    /// Being read in.
    Attaching,
    /// In use.
    InUse,
    /// In use; takes nothing new, and what it holds is moved to others.
    Retiring {
        /// Files on it when that began.
        began_with: u64,
        /// Those that are left.
        left: u64,
        /// What it waits for, in words; none while it goes on.
        waits: Option<String>,
    },
    /// Nothing is on it any more, and its key is destroyed: the disk may be taken out.
    Retired,
    /// It failed and takes no more writes.
    Fenced {
        /// What failed, in words.
        reason: String,
    },
    /// It belongs to the pool but is not here.
    Missing,
}

/// Calls of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Calls {
    /// All.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Calls that took less than 64 µs, 256 µs, 1 ms, 4 ms, 16 ms, 66 ms, 262 ms, 1 s, and more.
    pub by_time: Vec<u64>,
    /// How long all took together, in microseconds.
    #[serde(default)]
    pub micros: u64,
    /// Bytes that were read or written.
    #[serde(default)]
    pub bytes: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolEvent {
    /// Counts the events since the agent was started; from 1.
    pub number: u64,
    /// When.
    pub at_ms: u64,
    /// The volume that it happened to, if it was one.
    pub volume: Option<String>,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Happening {
    /// A volume is in use.
    Attached,
    /// A blank volume joined the pool.
    Joined,
    /// What a missing volume held stands on the others; it is not waited for.
    Replaced,
    /// A volume went.
    Detached,
    /// A volume failed and takes no more writes.
    Fenced {
        /// What failed, in words.
        reason: String,
    },
    /// A volume is being emptied, to be taken out.
    Retiring,
    /// Emptying a volume was given up.
    RetireCancelled,
    /// A volume is empty, out of the pool, and its key is destroyed.
    Retired,
    /// A volume is empty and out of the pool, but its key could not be destroyed.
    KeyLeft {
        /// What failed, in words.
        reason: String,
    },
    /// A missing volume was given up.
    Forgotten,
    /// A block is not what was written.
    Damaged {
        /// The group, in hex.
        group: String,
        /// Its shard.
        shard: u8,
    },
    /// A shard was made anew on the volume.
    Repaired {
        /// The group, in hex.
        group: String,
        /// Its shard.
        shard: u8,
    },
    /// What is missing is being made anew.
    HealingBegan {
        /// Groups with missing shards.
        groups: u64,
    },
    /// Nothing is missing any more, or what is cannot be made anew now.
    HealingEnded {
        /// Shards that were made.
        shards: u64,
        /// Groups with missing shards that are left.
        left: u64,
    },
    /// The index is closed: its standby takes over, or it is made anew.
    IndexLost {
        /// Why, in words.
        reason: String,
    },
    /// The index was made from what the volumes hold.
    IndexRebuilt {
        /// How long the store was not open for that.
        took_ms: u64,
    },
    /// The store goes on with the standby of the index, which is on this volume.
    IndexTakenOver {
        /// How long the store was not open for that.
        took_ms: u64,
    },
    /// There is no room for new content.
    Full,
    /// There is room again.
    HasRoom,
}

/// What a bucket holds, and what was used of it since it was made. What was used never goes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketUse {
    /// Its number: never used again, unlike its name.
    pub number: u64,
    /// Its name.
    pub bucket: String,
    /// Whose it is, or was.
    pub owner: String,
    /// Whether it is deleted, and kept until it is settled.
    pub is_deleted: bool,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Bytes of parts of these.
    pub part_bytes: u64,
    /// Bytes of objects and parts, times the hours that they were held.
    pub byte_hours: u64,
    /// GET, HEAD and listings.
    pub reads: u64,
    /// PUT, POST and copies.
    pub writes: u64,
    /// DELETE, each key of several.
    pub deletes: u64,
    /// Bytes of objects that were received.
    pub bytes_in: u64,
    /// Bytes of objects that were sent.
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_and_an_event_keep_their_wire_form() {
        let event = PoolEvent {
            number: 3,
            at_ms: 5,
            volume: Some("v".to_owned()),
            what: Happening::Fenced { reason: "a sync failed".to_owned() },
        };
        let line = serde_json::to_string(&event).expect("JSON");
        let wanted =
            r#"{"number":3,"at_ms":5,"volume":"v","event":"fenced","reason":"a sync failed"}"#;
        assert_eq!(line, wanted);
        assert_eq!(serde_json::from_str::<PoolEvent>(&line).expect("an event"), event);
        let state = PoolVolumeState::Retiring { began_with: 9, left: 4, waits: None };
        let line = serde_json::to_string(&state).expect("JSON");
        assert_eq!(line, r#"{"state":"retiring","began_with":9,"left":4,"waits":null}"#);
    }
}
