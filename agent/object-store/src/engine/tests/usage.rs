use super::*;
use crate::engine::totals::BucketTotals;
use crate::engine::traffic::Requests;
use crate::store::{CopyTarget, UploadRequest};

async fn totals(core: &Arc<Core>) -> BucketTotals {
    let mut found = core.bucket_totals().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The store after a power cut in which everything is lost that was not synced.
async fn restarted(machine: &mut Machine, keeps_index: bool) -> Arc<Core> {
    *machine = machine.cut(Cut::Lost);
    if !keeps_index {
        machine.index = Arc::new(MemoryIndex::default());
    }
    machine.open().await.unwrap().0
}

#[test]
fn requests_count_once_whatever_comes_between() {
    run(async {
        let mut machine = Machine::new(2);
        let (mut core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let mut expected = Requests::write(0);
        for round in 0..12 {
            for number in 0..5 {
                put(&core, &format!("{number}"), vec![1; 100]).await.unwrap();
                expected = expected.plus(Requests::write(100));
            }
            put(&core, "large", content(round, 300 << 10)).await.unwrap();
            expected = expected.plus(Requests::write(300 << 10));
            for name in ["0", "1"] {
                delete(&core, name).await.unwrap();
                expected = expected.plus(Requests::delete());
            }
            let target = CopyTarget {
                bucket: bucket(),
                key: key("copy"),
                attributes: None,
                keep: Vec::new(),
                conditions: WriteConditions::default(),
                limit: u64::MAX,
            };
            let source = GetRequest::new(bucket(), key("large"));
            Arc::clone(&core).copy(&source, target).await.unwrap();
            expected = expected.plus(Requests::write(0));
            let meter = core.meter(&bucket()).unwrap();
            meter.read();
            meter.sent(round);
            expected =
                expected.plus(Requests { reads: 1, bytes_out: round, ..Requests::default() });
            let before = totals(&core).await;
            assert_eq!(before.requests, expected, "{round}");
            assert_eq!((before.objects, before.bytes), (5, 300 + 2 * (300 << 10)));
            if round % 3 == 0 {
                pack(&core).await.unwrap();
            }
            drop(core);
            core = restarted(&mut machine, round % 4 != 1).await;
            let after = totals(&core).await;
            assert_eq!(after.requests, expected, "{round}");
            assert_eq!((after.objects, after.bytes), (5, 300 + 2 * (300 << 10)));
        }
    });
}

#[test]
fn writers_side_by_side_count_exactly_though_the_index_lags_behind() {
    run(async {
        let mut machine = Machine::new(3);
        let (mut core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        for round in 1..6_u64 {
            let puts = (0..40).map(|number| {
                let core = Arc::clone(&core);
                tokio::spawn(async move { put(&core, &format!("{number}"), vec![1; 10]).await })
            });
            let puts: Vec<_> = puts.collect();
            // In the midst of them.
            tokio::task::yield_now().await;
            core.checkpoint().await.unwrap();
            for put in puts {
                put.await.unwrap().unwrap();
            }
            drop(core);
            core = restarted(&mut machine, round % 3 != 0).await;
            let found = totals(&core).await.requests;
            assert_eq!((found.writes, found.bytes_in), (1 + 40 * round, 400 * round));
        }
    });
}

#[test]
fn what_was_read_is_lost_at_most_since_it_was_written_down_and_never_counts_twice() {
    run(async {
        let mut machine = Machine::new(2);
        let (mut core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let mut expected = 0;
        for round in 0..8_u64 {
            let meter = core.meter(&bucket()).unwrap();
            (0..3).for_each(|_| meter.read());
            expected += 3;
            machine.disk.set_fault(Some(agent_object_store_pool::sim::Fault::SyncErrorAt(0)));
            // Whether it is on the other volume or not, it counts once.
            let _ = core.write_traffic().await;
            machine.disk.set_fault(None);
            if round % 2 == 0 {
                meter.read();
                expected += 1;
            }
            if core.write_traffic().await.is_err() {
                // Too few volumes: a restart mends that, and it is in memory no more.
                expected = 0;
            }
            meter.read();
            drop(core);
            core = restarted(&mut machine, round % 4 != 3).await;
            let found = totals(&core).await.requests.reads;
            assert!(expected == 0 || found == expected, "{found} of {expected} in {round}");
            expected = found;
        }
        assert!(expected > 0);
    });
}

#[test]
fn the_usage_of_a_deleted_bucket_is_kept_until_it_is_settled() {
    run(async {
        let mut machine = Machine::new(2);
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        put(&core, "a", vec![1; 70]).await.unwrap();
        delete(&core, "a").await.unwrap();
        // Nothing to delete is a request, too.
        delete(&core, "a").await.unwrap();
        let request = UploadRequest {
            bucket: bucket(),
            key: key("b"),
            owner: Owner::new("ann").unwrap(),
            attributes: Attributes::default(),
            note: None,
        };
        let upload = Arc::clone(&core).create_upload(request).await.unwrap().upload;
        let target = crate::store::UploadTarget { bucket: bucket(), key: key("b"), upload };
        Arc::clone(&core).abort_upload(target).await.unwrap();
        let live = totals(&core).await;
        let expected = Requests { writes: 3, deletes: 3, bytes_in: 70, ..Requests::default() };
        assert_eq!((live.requests, live.is_deleted), (expected, false));
        Arc::clone(&core).delete_bucket(bucket()).await.unwrap();
        make_bucket(&core).await.unwrap();
        drop(core);
        for keeps_index in [true, false, false] {
            let core = restarted(&mut machine, keeps_index).await;
            let found = core.bucket_totals().await.unwrap();
            let [old, new] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((old.number, old.is_deleted, old.requests.deletes), (live.number, true, 4));
            assert!(old.byte_millis >= live.byte_millis && old.owner.as_str() == "ann");
            assert_eq!((new.is_deleted, new.requests), (false, Requests::write(0)));
            pack(&core).await.unwrap();
        }
        let core = restarted(&mut machine, true).await;
        assert!(core.forget_usage(live.number).unwrap());
        assert!(!core.forget_usage(live.number).unwrap());
        let new = totals(&core).await.number;
        assert!(!core.forget_usage(new).unwrap(), "it is not deleted");
        assert_eq!(totals(&core).await.number, new);
    });
}
