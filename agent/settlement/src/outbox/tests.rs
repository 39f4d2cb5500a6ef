//! Power cuts at every I/O, rot of every bit.

use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, B256, Bytes};
use proptest::prelude::*;

use super::format::{self, MARK_BYTES};
use super::*;
use crate::call::{Call, Seq};
use crate::revert::{Class, Revert};

/// Bytes that a disk writes as one.
const SECTOR: usize = 512;

const OWNER: Owner = Owner { chain: 31_337, account: Address::repeat_byte(7) };

/// A disk whose writes are in a cache until they are synced, and which loses power after so many operations.
#[derive(Debug, Default)]
struct Disk {
    /// The file as programs see it.
    file: Option<Vec<u8>>,
    /// The file as it is on stable storage.
    durable: Option<Vec<u8>>,
    aside: Option<Vec<u8>>,
    aside_synced: bool,
    /// The file has another name than stable storage says.
    renamed: bool,
    /// Operations until the power goes.
    left: usize,
    done: usize,
}

#[derive(Debug, Clone, Default)]
struct Sim(Arc<Mutex<Disk>>);

/// A generator of numbers (SplitMix64, Steele et al. 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound as u64)).expect("it fits")
    }
}

impl Sim {
    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> io::Result<T> {
        let mut disk = self.0.lock().expect("no test panicked with it");
        if disk.left == 0 {
            return Err(io::Error::other("no power"));
        }
        disk.left -= 1;
        disk.done += 1;
        Ok(act(&mut disk))
    }

    fn power(&self, operations: usize) {
        self.0.lock().expect("no test panicked with it").left = operations;
    }

    /// What is there after a power cut: of what was not synced, each sector was written or was not.
    fn cut(&self, numbers: &mut Numbers) {
        let mut disk = self.0.lock().expect("no test panicked with it");
        let (durable, cached) = (disk.durable.take(), disk.file.take());
        let left = match (durable, cached) {
            // A rename that was not synced happened or did not; the new file itself was synced before.
            (durable, cached) if disk.renamed => match numbers.next().is_multiple_of(2) {
                true => durable,
                false => cached,
            },
            (Some(durable), Some(cached)) if durable != cached => {
                let (short, long) =
                    (durable.len().min(cached.len()), durable.len().max(cached.len()));
                let length = short + numbers.below(long - short + 1);
                let mut torn: Vec<u8> = cached
                    .iter()
                    .chain(durable.get(cached.len()..).unwrap_or(&[]))
                    .copied()
                    .collect();
                torn.truncate(length);
                let mut at = short;
                while at < length {
                    let end = (at / SECTOR * SECTOR + SECTOR).min(length);
                    if numbers.next().is_multiple_of(2) && cached.len() > durable.len() {
                        torn[at..end].fill(0);
                    }
                    at = end;
                }
                Some(torn)
            }
            (durable, _) => durable,
        };
        disk.durable = left;
        disk.renamed = false;
        disk.file = disk.durable.clone();
        disk.aside = None;
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panicked with it").file.clone().expect("a file")
    }

    fn holding(bytes: Vec<u8>) -> Self {
        let (file, durable) = (Some(bytes.clone()), Some(bytes));
        Self(Arc::new(Mutex::new(Disk { file, durable, left: usize::MAX, ..Disk::default() })))
    }
}

impl Backend for Sim {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.with(|disk| disk.file.clone())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|disk| disk.file.as_mut().expect("a file").extend(bytes))
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).expect("it fits");
        self.with(|disk| disk.file.as_mut().expect("a file").truncate(length))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.with(|disk| disk.durable = disk.file.clone())
    }
    fn write_aside(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|disk| (disk.aside, disk.aside_synced) = (Some(bytes.to_vec()), false))
    }
    fn sync_aside(&mut self) -> io::Result<()> {
        self.with(|disk| disk.aside_synced = true)
    }
    fn rename_aside(&mut self) -> io::Result<()> {
        self.with(|disk| {
            assert!(disk.aside_synced, "a file takes a name only after it was synced");
            disk.file = disk.aside.take();
            disk.renamed = true;
        })
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        self.with(|disk| (disk.durable, disk.renamed) = (disk.file.clone(), false))
    }
    fn set_aside(&mut self) -> io::Result<String> {
        self.with(|disk| disk.file = None)?;
        Ok("outbox.damaged-0".to_owned())
    }
}

/// A record with data of so many bytes: short ones lie in one sector, long ones in many.
fn record(number: u64, bytes: usize) -> Record {
    let call = Call { to: Address::ZERO, data: Bytes::from(vec![0x5a; bytes]), probe: None };
    let digest = B256::with_last_byte(number.to_le_bytes()[0]);
    Record::Intent(Intent { seq: Seq(number), digest, purpose: Purpose::Wanted, call })
}

/// What a run was told.
#[derive(Debug, Default, Clone)]
struct Told {
    /// An outbox was begun.
    begun: bool,
    /// Records that were answered for.
    answered: Vec<Record>,
    /// What may be there as well: with the record, or instead of all, that was being written.
    perhaps: Option<Vec<Record>>,
}

fn run(sim: &Sim, told: &mut Told) -> Result<(), OutboxError> {
    let mut outbox = Outbox::begin_anew(sim.clone(), OWNER)?;
    told.begun = true;
    for (number, bytes) in [10, 900, 0, 2000, 40].into_iter().enumerate() {
        let next = record(number as u64, bytes);
        told.perhaps = Some([&told.answered[..], std::slice::from_ref(&next)].concat());
        outbox.append(&next)?;
        told.answered.push(next);
        if number == 2 {
            let kept = vec![told.answered[1].clone()];
            told.perhaps = Some(kept.clone());
            outbox.compact(&kept)?;
            told.answered = kept;
        }
    }
    Ok(())
}

fn ready(opened: Opened<Sim>) -> (Outbox<Sim>, Vec<Record>) {
    match opened {
        Opened::Ready(outbox, records) => (outbox, records),
        Opened::Absent(_) => panic!("there is none"),
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_answered_for() {
    let all = Sim::default();
    all.power(usize::MAX);
    run(&all, &mut Told::default()).expect("power");
    let operations = all.0.lock().expect("one thread").done;
    assert!(operations > 25, "{operations}");
    let mut cuts = 0;
    for cut in 0..=operations {
        for seed in 0..16 {
            let (sim, mut told) = (Sim::default(), Told::default());
            sim.power(cut);
            let result = run(&sim, &mut told);
            assert_eq!(result.is_err(), cut < operations);
            let mut numbers = Numbers(seed);
            sim.cut(&mut numbers);
            // The power goes again while what was torn is cut off.
            for again in 0..6 {
                sim.power(again);
                if let Err(error) = Outbox::open(sim.clone(), OWNER) {
                    assert!(matches!(error, OutboxError::Disk { .. }), "cut {cut}: {error}");
                    sim.cut(&mut numbers);
                    cuts += 1;
                }
            }
            sim.power(usize::MAX);
            match Outbox::open(sim.clone(), OWNER).expect("no damage") {
                Opened::Absent(_) => assert!(!told.begun, "cut {cut}, seed {seed}"),
                Opened::Ready(mut outbox, found) => {
                    let expected = found == told.answered || Some(&found) == told.perhaps.as_ref();
                    assert!(expected, "cut {cut}, seed {seed}: {found:?}");
                    outbox.append(&record(77, 600)).expect("power");
                    let (_, after) = ready(Outbox::open(sim.clone(), OWNER).expect("no damage"));
                    assert_eq!(after, [&found[..], &[record(77, 600)]].concat());
                }
            }
        }
    }
    assert!(cuts > 0, "recovery was cut, too");
}

#[test]
fn a_failure_fences_and_nothing_more_is_answered_for() {
    let sim = Sim::default();
    sim.power(usize::MAX);
    let mut outbox = Outbox::begin_anew(sim.clone(), OWNER).expect("power");
    sim.power(1);
    assert!(matches!(outbox.append(&record(0, 1)), Err(OutboxError::Disk { .. })));
    sim.power(usize::MAX);
    assert!(matches!(outbox.append(&record(0, 1)), Err(OutboxError::Fenced)));
    assert!(matches!(outbox.compact(&[]), Err(OutboxError::Fenced)));
}

/// A file with three records, and those records.
fn three() -> (Vec<u8>, Vec<Record>) {
    let sim = Sim::default();
    sim.power(usize::MAX);
    let mut outbox = Outbox::begin_anew(sim.clone(), OWNER).expect("power");
    let records: Vec<_> = (0..3).map(|number| record(number, 30)).collect();
    for record in &records {
        outbox.append(record).expect("power");
    }
    assert_eq!(outbox.length(), sim.bytes().len());
    (sim.bytes(), records)
}

#[test]
fn a_bit_that_rots_anywhere_is_damage_and_never_a_record_less() {
    let (bytes, records) = three();
    let mut harmless = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut rotten = bytes.clone();
            rotten[at] ^= 1 << bit;
            match Outbox::open(Sim::holding(rotten), OWNER) {
                Ok(opened) => {
                    assert_eq!(ready(opened).1, records, "byte {at}");
                    assert!(at >= bytes.len() - MARK_BYTES, "only the last mark is not needed");
                    harmless += 1;
                }
                Err(OutboxError::Damaged { .. }) => {}
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }
    assert_eq!(harmless, MARK_BYTES * 8);
}

#[test]
fn what_is_damaged_is_set_aside_and_what_is_anothers_is_left() {
    let (mut bytes, _) = three();
    let other = Owner { chain: 1, ..OWNER };
    let sim = Sim::holding(bytes.clone());
    let foreign = Outbox::open(sim.clone(), other).expect_err("another's");
    assert!(matches!(foreign, OutboxError::Foreign(Foreign::Owner(found)) if found == OWNER));
    assert_eq!(sim.bytes(), bytes);
    bytes[60] ^= 1;
    let sim = Sim::holding(bytes);
    let damaged = Outbox::open(sim.clone(), OWNER).expect_err("damage");
    assert!(damaged.to_string().contains("outbox.damaged-0"), "{damaged}");
    assert!(sim.0.lock().expect("one thread").file.is_none());
}

#[test]
fn on_a_real_file_system_a_damaged_file_is_no_new_beginning() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = || Folder::new(folder.path());
    assert!(matches!(Outbox::open(backend(), OWNER), Ok(Opened::Absent(_))));
    let mut outbox = Outbox::begin_anew(backend(), OWNER).expect("made");
    outbox.append(&record(0, 10)).expect("written");
    outbox.append(&record(1, 10)).expect("written");
    outbox.compact(&[record(1, 10)]).expect("written");
    outbox.append(&record(2, 10)).expect("written");
    let path = folder.path().join("outbox");
    let Ok(Opened::Ready(_, records)) = Outbox::open(backend(), OWNER) else { panic!("not read") };
    assert_eq!(records, [record(1, 10), record(2, 10)]);
    let mut bytes = std::fs::read(&path).expect("a file");
    bytes[70] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    assert!(matches!(Outbox::open(backend(), OWNER), Err(OutboxError::Damaged { .. })));
    assert_eq!(std::fs::read(folder.path().join("outbox.damaged-0")).expect("kept"), bytes);
    assert!(matches!(Outbox::open(backend(), OWNER), Err(OutboxError::Disk { .. })));
    Outbox::begin_anew(backend(), OWNER).expect("made");
    assert!(
        matches!(Outbox::open(backend(), OWNER), Ok(Opened::Ready(_, records)) if records.is_empty())
    );
}

#[test]
fn each_kind_of_record_is_read_as_it_was_written() {
    let signed = Signed {
        seq: Seq(1),
        raw: Bytes::from(vec![2; 200]),
        nonce: 3,
        hash: B256::repeat_byte(4),
        fee: Fee { max_wei: u128::MAX, tip_wei: 1 << 70 },
        gas: u64::MAX,
        l1_wei: 1 << 90,
        day: 6,
    };
    let inclusion = Inclusion { tx: B256::ZERO, block: B256::ZERO, number: 7, ok: false };
    let revert = Revert { words: "no \"quotes\"".to_owned(), class: Class::Retryable };
    let reason = ParkReason::KeepsReverting { times: 5, revert: revert.clone() };
    let seq = Seq(1);
    let records = [
        record(1, 5),
        Record::Signed(signed.clone()),
        Record::Replaced(signed),
        Record::Mined { seq, inclusion },
        Record::Final { seq, how: Outcome::Another },
        Record::Parked { seq, reason },
        Record::Parked { seq, reason: ParkReason::Refused { revert } },
        Record::Parked { seq, reason: ParkReason::TooMuchGas { gas: 2, limit: 1 } },
        Record::Carried { next: Seq(9), spent: Spent { day: 1, wei: u128::MAX } },
    ];
    let sim = Sim::default();
    sim.power(usize::MAX);
    let mut outbox = Outbox::begin_anew(sim.clone(), OWNER).expect("power");
    for record in &records {
        outbox.append(record).expect("power");
    }
    assert_eq!(ready(Outbox::open(sim, OWNER).expect("no damage")).1, records);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_is_in_a_file_reading_it_ends(mut bytes in any::<Vec<u8>>(), with_header in any::<bool>()) {
        if with_header {
            bytes = [format::header(&OWNER), bytes].concat();
        }
        if let Ok(parsed) = format::parse(&bytes, &OWNER) {
            prop_assert!(parsed.keep <= bytes.len());
        }
    }
}
