//! The fuzzer's targets with what they failed on once, with their seeds, and with random changes of
//! those: a second or two each.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test ends with a message where its own assumption fails"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use agent_object_store_pool::sim::Dice;

/// The seed of all changes; a number in `ICN_SEED` is another.
const SEED: u64 = 20_260_102;

/// Inputs of a target; a number in `ICN_INPUTS` is another.
const INPUTS: u64 = 400;

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Changes of an input as a fuzzer makes them.
fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    let place = |bytes: &[u8], dice: &mut Dice| dice.roll(bytes.len() as u64 + 1) as usize;
    let at = place(bytes, dice);
    match dice.roll(8) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, dice.roll(256) as u8),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
        4 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5) as usize],
        5 => {
            let other = &others[dice.roll(others.len() as u64) as usize];
            let from = place(other, dice);
            bytes.splice(at.., other[from..].iter().copied());
        }
        6 => {
            let run = vec![[0, 0xff][dice.roll(2) as usize]; dice.roll(12) as usize];
            let end = (at + run.len()).min(bytes.len());
            bytes.splice(at..end, run);
        }
        _ if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
        _ => bytes.push(dice.roll(256) as u8),
    }
}

#[test]
fn every_target_takes_its_seeds_what_failed_once_and_changes_of_both() {
    let (seed, inputs) = (number("ICN_SEED", SEED), number("ICN_INPUTS", INPUTS));
    for target in fuzz::targets() {
        let known: Vec<Vec<u8>> =
            target.regressions().into_iter().map(|(_, bytes)| bytes).collect();
        let known = [target.seeds(), known].concat();
        assert!(!known.is_empty(), "{} has no seeds", target.name);
        let mut dice = Dice(seed);
        let changed = (0..inputs).map(|number| {
            let mut bytes = known[(number % known.len() as u64) as usize].clone();
            for _ in 0..=dice.roll(4) {
                change(&mut bytes, &known, &mut dice);
            }
            bytes
        });
        let changed: Vec<Vec<u8>> = changed.collect();
        for bytes in known.iter().chain(&changed) {
            if catch_unwind(AssertUnwindSafe(|| target.check(bytes))).is_err() {
                panic!("{} failed, seed {seed}, with {bytes:02x?}", target.name);
            }
        }
        println!("{}: {} inputs", target.name, known.len() + changed.len());
    }
}
