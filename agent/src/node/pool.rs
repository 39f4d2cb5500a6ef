//! The storage pool on the control socket: from the store's own types to those of the wire.

use agent_api::control::{Reply, Request};
use agent_api::pool as wire;
use agent_object_store::{
    BucketTotals, Calls, Class, Engine, Event, Happening, PoolStatus, Requests, StandbyStatus,
    VolumeId, VolumeState, VolumeStatus,
};
use tracing::info;

use super::control::refused;

const MILLIS_PER_HOUR: u128 = 3_600_000;

/// Answers a request about the pool.
pub(crate) async fn answer(store: &Engine, request: Request) -> Reply {
    match request {
        Request::PoolStatus => Reply::PoolStatus(Box::new(status(store.status().await))),
        Request::PoolEvents { since } => {
            let events: Vec<_> = store.events_since(since);
            Reply::PoolEvents {
                events: events.into_iter().take(wire::EVENTS_MAX).map(event).collect(),
            }
        }
        Request::BucketUsage { after } => usage(store, after).await,
        Request::RetireVolume { volume } => match id(&volume) {
            Ok(id) => accepted(&request_of("retire", &volume), store.retire(&id).await),
            Err(reply) => reply,
        },
        Request::CancelRetire { volume } => match id(&volume) {
            Ok(id) => accepted(&request_of("keep", &volume), store.cancel_retire(&id).await),
            Err(reply) => reply,
        },
        Request::ForgetVolume { volume } => match id(&volume) {
            Ok(id) => accepted(&request_of("give up", &volume), store.forget(&id).await),
            Err(reply) => reply,
        },
        Request::RebuildIndex => rebuild(store),
        _ => refused("not a request about the pool"),
    }
}

fn request_of(what: &str, volume: &str) -> String {
    format!("{what} volume {volume}")
}

fn id(volume: &str) -> Result<VolumeId, Reply> {
    VolumeId::new(volume).map_err(|error| refused(format!("{volume:?} is no volume: {error}")))
}

fn accepted<E: std::error::Error>(what: &str, done: Result<(), E>) -> Reply {
    match done {
        Ok(()) => {
            info!(what, "asked for on the control socket");
            Reply::Accepted
        }
        Err(error) => refused(error.to_string()),
    }
}

/// Begins to make the index anew; that goes on when the client has gone.
fn rebuild(store: &Engine) -> Reply {
    if let Some(reason) = store.awaited() {
        return refused(format!("the store is not open: {reason}"));
    }
    info!("the index is to be made anew, as asked for on the control socket");
    let store = store.clone();
    tokio::spawn(async move { store.rebuild_index().await });
    Reply::Accepted
}

async fn usage(store: &Engine, after: Option<u64>) -> Reply {
    match store.bucket_totals().await {
        Ok(all) => {
            let mut rest = all.into_iter().filter(|totals| after.is_none_or(|n| totals.number > n));
            let buckets = rest.by_ref().take(wire::BUCKETS_MAX).map(bucket_use).collect();
            Reply::BucketUsage { buckets, more: rest.next().is_some() }
        }
        Err(error) => refused(error.to_string()),
    }
}

fn bucket_use(totals: BucketTotals) -> wire::BucketUse {
    let Requests { reads, writes, deletes, bytes_in, bytes_out } = totals.requests;
    wire::BucketUse {
        number: totals.number,
        bucket: totals.bucket.to_string(),
        owner: totals.owner.to_string(),
        is_deleted: totals.is_deleted,
        objects: totals.objects,
        bytes: totals.bytes,
        uploads: totals.uploads,
        part_bytes: totals.part_bytes,
        byte_hours: u64::try_from(totals.byte_millis / MILLIS_PER_HOUR).unwrap_or(u64::MAX),
        reads,
        writes,
        deletes,
        bytes_in,
        bytes_out,
    }
}

fn status(status: PoolStatus) -> wire::PoolStatus {
    let memory = crate::memory::shown(&status);
    let PoolStatus { space, healing, packing, .. } = status;
    wire::PoolStatus {
        awaited: status.awaited,
        rebuilding: status.rebuilding.map(|(read, groups)| wire::Rebuilding { read, groups }),
        standby: status.standby.map(|standby| match standby {
            StandbyStatus::None => wire::Standby::None,
            StandbyStatus::Filling { copied } => wire::Standby::Filling { copied },
            StandbyStatus::InStep => wire::Standby::InStep,
        }),
        spread: status.spread.map(|spread| wire::Spread {
            data: spread.data,
            parity: spread.parity,
            copies: spread.copies,
        }),
        spare_volumes: status.spare_volumes,
        space: wire::Space {
            total: space.total,
            used: space.used,
            reserved: space.reserved,
            usable: space.usable,
        },
        content: status.content.map(|content| wire::Content {
            plain: content.plain_bytes,
            stored: content.stored_bytes,
        }),
        healing: wire::Healing {
            groups: healing.groups,
            by_missing: healing.by_missing,
            lost: healing.lost,
            damaged: healing.damaged,
            wanting_bytes: healing.wanting_bytes,
            since_ms: healing.since.map(|since| since.0),
            made_shards: healing.made_shards,
            made_bytes: healing.made_bytes,
            bytes_per_second: healing.bytes_per_second,
            seconds_left: healing.seconds_left,
        },
        scrub: status.scrub.map(|scrub| wire::Scrub {
            begun_ms: scrub.begun.0,
            ends_ms: scrub.ends.0,
            read: scrub.read,
            groups: scrub.groups,
        }),
        packing: wire::Packing {
            running: packing.is_running,
            segments: packing.segments,
            bytes: packing.bytes,
            in_doubt: packing.is_in_doubt,
        },
        memory,
        volumes: status.volumes.into_iter().map(volume).collect(),
    }
}

fn volume(volume: VolumeStatus) -> wire::PoolVolume {
    use wire::PoolVolumeState as State;
    let state = match volume.state {
        VolumeState::Attaching => State::Attaching,
        VolumeState::Attached => State::InUse,
        VolumeState::Retiring => match volume.leaving {
            Some(far) => {
                State::Retiring { began_with: far.began_with, left: far.left, waits: far.waits }
            }
            None => State::Retiring { began_with: 0, left: 0, waits: None },
        },
        VolumeState::Retired => State::Retired,
        VolumeState::Fenced { reason } => State::Fenced { reason },
        VolumeState::Missing => State::Missing,
    };
    let class = volume.class.map(|class| match class {
        Class::Hdd => "hdd",
        Class::Ssd => "ssd",
        Class::Nvme => "nvme",
    });
    wire::PoolVolume {
        id: volume.id.to_string(),
        number: volume.number.map(|number| number.0),
        class: class.map(str::to_owned),
        path: volume.path.map(|path| path.display().to_string()),
        state,
        since_ms: volume.since.0,
        capacity_bytes: volume.capacity_bytes,
        free_bytes: volume.free_bytes,
        has_index: volume.has_index,
        has_standby: volume.has_standby,
        is_hot: volume.is_hot,
        files: volume.files,
        reads: calls(&volume.measured.reads),
        writes: calls(&volume.measured.writes),
        syncs: calls(&volume.measured.syncs),
        damaged_blocks: volume.damaged_blocks,
        repaired_shards: volume.repaired_shards,
    }
}

fn calls(calls: &Calls) -> wire::Calls {
    wire::Calls {
        count: calls.count(),
        errors: calls.errors,
        by_time: calls.by_time.to_vec(),
        micros: calls.micros,
        bytes: calls.bytes,
    }
}

fn event(event: Event) -> wire::PoolEvent {
    let Event { number, at, volume, what } = event;
    wire::PoolEvent { number, at_ms: at.0, volume, what: happening(what) }
}

fn happening(what: Happening) -> wire::Happening {
    use wire::Happening as Wire;
    match what {
        Happening::Attached => Wire::Attached,
        Happening::Joined => Wire::Joined,
        Happening::Replaced => Wire::Replaced,
        Happening::Detached => Wire::Detached,
        Happening::Fenced { reason } => Wire::Fenced { reason },
        Happening::Retiring => Wire::Retiring,
        Happening::RetireCancelled => Wire::RetireCancelled,
        Happening::Retired => Wire::Retired,
        Happening::KeyLeft { reason } => Wire::KeyLeft { reason },
        Happening::Forgotten => Wire::Forgotten,
        Happening::Damaged { group, shard } => Wire::Damaged { group, shard },
        Happening::Repaired { group, shard } => Wire::Repaired { group, shard },
        Happening::HealingBegan { groups } => Wire::HealingBegan { groups },
        Happening::HealingEnded { shards, left } => Wire::HealingEnded { shards, left },
        Happening::IndexLost { reason } => Wire::IndexLost { reason },
        Happening::IndexRebuilt { took_ms } => Wire::IndexRebuilt { took_ms },
        Happening::IndexTakenOver { took_ms } => Wire::IndexTakenOver { took_ms },
        Happening::Full => Wire::Full,
        Happening::HasRoom => Wire::HasRoom,
    }
}
