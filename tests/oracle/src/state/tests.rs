//! Whom the state takes, and whom it turns down.

use super::*;
use crate::limits::BURST;

const ERA: Era = Era(4);

fn opening(daemon: u8, instance: u8, certificate: u8) -> Opening {
    Opening {
        daemon: Address::repeat_byte(daemon),
        node: B256::repeat_byte(daemon),
        end: End {
            instance: B256::repeat_byte(instance),
            certificate: B256::repeat_byte(certificate),
            peer: ([192, 0, 2, instance], 7).into(),
        },
        s3: None,
    }
}

fn peer() -> SocketAddr {
    ([192, 0, 2, 9], 7).into()
}

#[test]
fn a_session_belongs_to_its_certificate() {
    let mut state = State::default();
    let speak = |state: &mut State, byte| {
        state.speak(&B256::repeat_byte(byte), peer(), ERA, 0).map_err(|turned| turned.refusal)
    };
    assert_eq!(speak(&mut state, 1), Err(Refusal::NoSession));
    assert_eq!(state.open(opening(5, 1, 1), ERA, 0), Ok(None));
    let speaker = Speaker { daemon: Address::repeat_byte(5), node: B256::repeat_byte(5) };
    assert_eq!(speak(&mut state, 1), Ok(speaker));
    let stolen = state.open(opening(6, 2, 1), ERA, 0).map_err(|turned| turned.refusal);
    assert!(matches!(stolen, Err(Refusal::Malformed { .. })), "{stolen:?}");
    state.dismiss(&Address::repeat_byte(5));
    assert_eq!(speak(&mut state, 1), Err(Refusal::NoSession));
}

#[test]
fn two_with_one_key_freeze_the_era_and_both_are_told_until_it_is_over() {
    let mut state = State::default();
    state.open(opening(5, 1, 1), ERA, 0).expect("the first");
    state.open(opening(5, 2, 2), ERA, 0).expect("the second takes its place");
    let turned = state.speak(&B256::repeat_byte(1), peer(), ERA, 0).expect_err("a conflict");
    let (first, second) = ("192.0.2.9:7".to_owned(), "192.0.2.2:7".to_owned());
    let refusal = Refusal::Conflict { first: first.clone(), second: second.clone() };
    let record = Record::Conflict { node: B256::repeat_byte(5), first, second };
    assert_eq!(turned, Turned { refusal: refusal.clone(), record: Some(Box::new(record)) });
    for certificate in [1, 2] {
        let told = state.speak(&B256::repeat_byte(certificate), peer(), ERA, 0);
        assert_eq!(told, Err(refusal.clone().into()), "{certificate}");
    }
    assert_eq!(state.open(opening(5, 3, 3), ERA, 0), Err(refusal.into()));
    let next = Era(5);
    let gone = state.speak(&B256::repeat_byte(2), peer(), next, 0).expect_err("a new era");
    assert_eq!(gone.refusal, Refusal::NoSession);
    assert_eq!(state.open(opening(5, 2, 2), next, 0), Ok(None));
    assert!(state.speak(&B256::repeat_byte(2), peer(), next, 0).is_ok());
}

#[test]
fn a_frozen_era_stays_frozen_after_a_restart() {
    let mut state = State::default();
    let (first, second) = ("a".to_owned(), "b".to_owned());
    let node = B256::repeat_byte(5);
    let record = Record::Conflict { node, first: first.clone(), second: second.clone() };
    state.apply(ERA, record);
    let turned = state.open(opening(5, 1, 1), ERA, 0);
    assert_eq!(turned, Err(Refusal::Conflict { first, second }.into()));
    assert_eq!(state.open(opening(5, 1, 1), Era(5), 0), Ok(None));
}

#[test]
fn one_daemon_speaks_for_one_node() {
    let mut state = State::default();
    let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let (node, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
    let all = |_: &Address| true;
    assert_eq!(state.bind(one, node, None, all), Ok(()));
    state.known(one, node, 0);
    assert!(state.is_bound(&one, &node));
    assert!(state.bind(one, other, None, all).is_err(), "a daemon of another node");
    assert!(state.bind(two, node, None, all).is_err(), "a node of another daemon");
    assert!(state.bind(two, node, Some(other), all).is_err(), "the list says another node");
    let struck = |daemon: &Address| *daemon != one;
    assert_eq!(state.bind(two, node, None, struck), Ok(()), "the key was exchanged");
    assert_eq!(state.bind(one, other, Some(other), all), Ok(()), "the list says so");
}

#[test]
fn who_asks_too_often_is_told_when_to_ask_again() {
    let mut state = State::default();
    for _ in 0..BURST {
        state.open(opening(5, 1, 1), ERA, 0).expect("within the burst");
    }
    let turned = state.open(opening(5, 1, 1), ERA, 0).map_err(|turned| turned.refusal);
    assert_eq!(turned, Err(Refusal::Busy { retry_after_ms: 1000 }));
    let turned = state.speak(&B256::repeat_byte(1), peer(), ERA, 600).map_err(|t| t.refusal);
    assert_eq!(turned, Err(Refusal::Busy { retry_after_ms: 400 }));
    assert!(state.speak(&B256::repeat_byte(1), peer(), ERA, 1000).is_ok());
    assert_eq!(state.open(opening(6, 2, 2), ERA, 0), Ok(None), "others are not held up");
}

#[test]
fn a_closed_era_is_remembered_and_those_before_are_forgotten() {
    let mut state = State::default();
    let (daemon, node) = (Address::repeat_byte(5), B256::repeat_byte(5));
    state.known(daemon, node, 0);
    for era in 1..4 {
        let record = Record::Conflict { node, first: "a".into(), second: "b".into() };
        state.apply(Era(era), record);
    }
    let eras = |state: &State| state.books.keys().copied().collect::<Vec<_>>();
    state.closed(Era(2));
    assert_eq!(eras(&state), [Era(1), Era(2), Era(3)], "the first waits for its votes");
    state.closed(Era(1));
    state.closed(Era(3));
    assert_eq!(eras(&state), [Era(3)]);
    let history = &state.node(&daemon).expect("known").history;
    assert_eq!(history.iter().map(|known| known.era).collect::<Vec<_>>(), [Era(3), Era(2), Era(1)]);
    assert_eq!(history[0].conflict, Some(("a".into(), "b".into())));
}
