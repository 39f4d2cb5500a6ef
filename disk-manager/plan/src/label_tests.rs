use proptest::prelude::*;

use super::*;
use crate::slots::{self, Verdict};

fn name() -> impl Strategy<Value = String> {
    "[ -~]{0,96}"
}

fn entry() -> impl Strategy<Value = LedgerEntry> {
    (any::<u128>(), name(), name()).prop_map(|(volume, disk, serial)| LedgerEntry {
        volume: Uuid::from_u128(volume),
        disk: DiskId(disk),
        serial,
    })
}

fn state() -> impl Strategy<Value = ClaimState> {
    prop_oneof![Just(ClaimState::Claiming), Just(ClaimState::Formatting), Just(ClaimState::Ready),]
}

prop_compose! {
    fn record()(
        generation in any::<u64>(),
        seed in any::<[u8; 32]>(),
        state in state(),
        volume in any::<u128>(),
        disk in name(),
        serial in name(),
        entries in prop::collection::vec(entry(), 0..20),
    ) -> Record {
        Record {
            generation,
            key: NodeKey::from_seed(&seed),
            state,
            role: Role::Data,
            volume: Uuid::from_u128(volume),
            disk: DiskId(disk),
            serial,
            ledger: Ledger::new(entries),
        }
    }
}

fn example() -> Record {
    Record {
        generation: 7,
        key: NodeKey::from_seed(&[3; 32]),
        state: ClaimState::Ready,
        role: Role::Data,
        volume: Uuid::from_u128(1),
        disk: DiskId("naa.5000c50000000001".to_owned()),
        serial: "ZC1234".to_owned(),
        ledger: Ledger::default(),
    }
}

/// Puts the right checksum on changed bytes, as an attacker would.
fn sum_up(bytes: &mut [u8]) {
    put_at(bytes, CHECKSUM_AT.start, &[0; 32]);
    let sum = checksum(bytes);
    put_at(bytes, CHECKSUM_AT.start, &sum);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_is_decoded(record in record()) {
        let bytes = record.encode().unwrap();
        prop_assert_eq!(bytes.len() % SECTOR, 0);
        prop_assert_eq!(Record::decode(&bytes).unwrap(), record);
    }

    #[test]
    fn any_bytes_at_all_decode_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn any_body_behind_a_good_header_decodes_without_a_panic(
        body in prop::collection::vec(any::<u8>(), SECTOR - HEADER),
    ) {
        let mut bytes = example().encode().unwrap();
        bytes.truncate(HEADER);
        bytes.extend_from_slice(&body);
        sum_up(&mut bytes);
        prop_assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn any_changed_bit_is_detected(record in record(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = record.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(Record::decode(&bytes).is_err(), "byte {}, bit {}", at, bit);
    }

    #[test]
    fn a_record_cut_short_is_detected(record in record(), at in any::<prop::sample::Index>()) {
        let bytes = record.encode().unwrap();
        prop_assert!(Record::decode(&bytes[..at.index(bytes.len())]).is_err());
    }
}

#[test]
fn every_changed_bit_of_one_record_is_detected() {
    let bytes = example().encode().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8u8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(Record::decode(&changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_record_without_ledger_fits_one_sector_whatever_its_names() {
    let mut record = example();
    record.disk = DiskId("d".repeat(MAX_NAME));
    record.serial = "s".repeat(MAX_NAME);
    assert_eq!(record.encode().unwrap().len(), SECTOR);
    record.serial.push('s');
    assert_eq!(record.encode().unwrap_err(), EncodeError::NameTooLong);
}

#[test]
fn the_longest_ledger_fits_and_one_more_does_not() {
    let entry = |n: usize| LedgerEntry {
        volume: Uuid::from_u128(n as u128),
        disk: DiskId("d".repeat(MAX_NAME)),
        serial: "s".repeat(MAX_NAME),
    };
    let mut record = example();
    record.ledger = Ledger::new((0..MAX_LEDGER).map(entry));
    let bytes = record.encode().unwrap();
    assert!(bytes.len() <= MAX_RECORD);
    assert_eq!(Record::decode(&bytes).unwrap(), record);
    record.ledger.insert(entry(MAX_LEDGER));
    assert_eq!(record.encode().unwrap_err(), EncodeError::LedgerTooLong);
}

#[test]
fn a_whole_record_of_a_later_version_is_told_from_a_damaged_one() {
    let mut bytes = example().encode().unwrap();
    bytes[8] = 2;
    assert!(matches!(Record::decode(&bytes), Err(DecodeError::Damaged { .. })));
    sum_up(&mut bytes);
    assert_eq!(Record::decode(&bytes), Err(DecodeError::Newer { version: 2 }));
}

#[test]
fn every_field_of_the_label_is_signed() {
    let good = example().encode().unwrap();
    // State, volume, a letter of the disk's identity, a letter of its serial number.
    for at in [56, 124, 206, 226] {
        let mut bytes = good.clone();
        bytes[at] = if at == 56 { 1 } else { bytes[at] ^ 1 };
        sum_up(&mut bytes);
        assert_eq!(Record::decode(&bytes), Err(DecodeError::BadSignature), "byte {at}");
    }
}

#[test]
fn a_label_signed_by_one_key_that_carries_another_is_refused() {
    let mut bytes = example().encode().unwrap();
    put_at(&mut bytes, 92, &[9; 32]);
    sum_up(&mut bytes);
    assert_eq!(Record::decode(&bytes), Err(DecodeError::BadSignature));
}

#[test]
fn the_secret_key_is_never_printed() {
    let record = example();
    let text = format!("{record:?}");
    assert!(!text.contains("3, 3, 3"), "{text}");
    assert!(text.contains(&record.node().to_string()));
}

fn slot(record: &Record) -> Vec<u8> {
    let mut bytes = record.encode().unwrap().to_vec();
    bytes.resize(4096, 0);
    bytes
}

#[test]
fn the_newest_slot_counts_and_a_damaged_one_falls_back_to_the_other() {
    let old = example();
    let new = Record { generation: 8, ..example() };
    let blank = vec![0xff; 4096];
    let read = |a: &[u8], b: &[u8]| match slots::read(a, b) {
        Verdict::Valid { record, other_damaged, .. } => (record.generation, other_damaged),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&slot(&old), &slot(&new)), (8, false));
    assert_eq!(read(&slot(&new), &slot(&old)), (8, false));
    assert_eq!(read(&slot(&old), &blank), (7, false));
    let mut torn = slot(&new);
    torn[300] ^= 1;
    assert_eq!(read(&torn, &slot(&old)), (7, true));
    assert!(matches!(slots::read(&torn, &blank), Verdict::Damaged { .. }));
    assert_eq!(slots::read(&blank, &blank), Verdict::Absent);
    assert_eq!(slots::read(b"anything else", &blank), Verdict::Absent);
}

#[test]
fn slots_of_two_nodes_are_not_believed_and_a_later_version_is_not_overruled() {
    let other = Record { key: NodeKey::from_seed(&[4; 32]), generation: 8, ..example() };
    assert!(matches!(slots::read(&slot(&example()), &slot(&other)), Verdict::Damaged { .. }));
    let mut newer = slot(&other);
    newer[8] = 9;
    sum_up(&mut newer[..SECTOR]);
    assert_eq!(slots::read(&slot(&example()), &newer), Verdict::Newer { version: 9 });
    let mut forged = slot(&other);
    forged[124] ^= 1;
    sum_up(&mut forged[..SECTOR]);
    assert_eq!(slots::read(&slot(&example()), &forged), Verdict::BadSignature);
}
