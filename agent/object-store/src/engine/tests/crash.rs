//! The power is cut at every call in turn: what was acknowledged is there, what was not is there
//! whole or not at all.

use std::collections::BTreeMap;

use agent_object_store_pool::sim::Fault;

use super::*;

/// What may be found of a key.
#[derive(Debug, Clone, Default)]
struct Expected {
    acknowledged: Option<Vec<u8>>,
    /// Asked for, not acknowledged.
    perhaps: Vec<Option<Vec<u8>>>,
}

type Model = BTreeMap<String, Expected>;

/// Makes changes by chance until the power goes; the model of what may be found afterwards. None if
/// the power did not go.
async fn work(core: &Arc<Core>, seed: u64, steps: u64, model: &mut Model) -> bool {
    let mut dice = Dice(seed);
    for step in 0..steps {
        let name = format!("key-{}", dice.roll(4));
        let entry = model.entry(name.clone()).or_default();
        let result = if dice.roll(4) == 0 {
            let result = delete(core, &name).await;
            (result, None)
        } else {
            let size = [10, 5000, 300 << 10][usize::try_from(dice.roll(3)).unwrap()];
            let bytes = content(seed * 1000 + step, size);
            let result = put(core, &name, bytes.clone()).await.map(drop);
            (result, Some(bytes))
        };
        match result {
            (Ok(()), state) => {
                *entry = Expected { acknowledged: state, perhaps: Vec::new() };
            }
            (Err(_), state) => {
                entry.perhaps.push(state);
                return true;
            }
        }
        let result = match dice.roll(24) {
            0 | 1 => core.checkpoint().await,
            2 | 3 => pack(core).await,
            _ => Ok(()),
        };
        if result.is_err() {
            return true;
        }
    }
    false
}

async fn check(core: &Arc<Core>, model: &mut Model, what: &str) {
    for (name, expected) in model {
        let found = read(core, name).await.unwrap();
        let fits = found == expected.acknowledged || expected.perhaps.contains(&found);
        let size = |state: &Option<Vec<u8>>| state.as_ref().map(Vec::len);
        assert!(
            fits,
            "{what}: {name} has {:?}, acknowledged {:?}, perhaps {:?}",
            size(&found),
            size(&expected.acknowledged),
            expected.perhaps.iter().map(size).collect::<Vec<_>>()
        );
        *expected = Expected { acknowledged: found, perhaps: Vec::new() };
    }
}

/// A machine with a bucket, from which every case starts.
fn prepared(machine: Machine) -> Machine {
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
    });
    machine.cut(Cut::Kept)
}

const CUTS: [Cut; 3] = [Cut::Lost, Cut::Mixed(0), Cut::Kept];

fn cut_at_every_call(machine: Machine, steps: u64, stride: usize, cuts: &[Cut]) {
    let start = prepared(machine);
    let volumes = start.volumes;
    for (number, at) in (0..).step_by(stride).enumerate() {
        let seed = number as u64;
        let (disk, index) = (start.disk.fork_unlocked(), start.index.restarted());
        let machine = Machine { disk, index, ..Machine::new(volumes) };
        let mut model = Model::new();
        let was_cut = run(async {
            let (core, _) = machine.open().await.unwrap();
            machine.disk.set_fault(Some(Fault::PowerAt(at)));
            work(&core, seed, steps, &mut model).await
        });
        let cut = match cuts[number % cuts.len()] {
            Cut::Mixed(_) => Cut::Mixed(seed),
            cut => cut,
        };
        let mut machine = machine.cut(cut);
        // A second cut right after the restart changes nothing any more, nor does the loss of the index.
        for round in 0..3 {
            let what = format!("{volumes} volumes, seed {seed}, cut at {at}, restart {round}");
            if (number + round) % 3 == 0 {
                machine.index = Arc::new(MemoryIndex::default());
            }
            run(async {
                let (core, _) = machine.open().await.unwrap();
                check(&core, &mut model, &what).await;
            });
            machine = machine.cut(cuts[0]);
        }
        if !was_cut {
            println!("{volumes} volumes: {number} cuts");
            return;
        }
    }
}

#[test]
fn a_cut_at_any_call_loses_nothing_acknowledged_on_one_volume() {
    cut_at_every_call(Machine::new(1), 30, 1, &CUTS);
}

#[test]
fn a_cut_at_any_call_loses_nothing_acknowledged_on_four_volumes() {
    cut_at_every_call(Machine::new(4), 30, 3, &CUTS);
}

#[test]
fn a_kill_at_any_call_loses_nothing_acknowledged_with_the_index_in_a_folder() {
    let index = KilledIndex::open(tempfile::tempdir().unwrap());
    let machine = Machine { index, ..Machine::new(1) };
    cut_at_every_call(machine, 30, 8, &[Cut::Kept]);
}
