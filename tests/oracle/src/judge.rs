//! What an answer to a challenge is worth: pure.

use agent_proofs::member::Commitment;
use agent_sla::protocol::B256;
use agent_sla::protocol::messages::Sample;
use agent_sla::protocol::sampling::{SampleError, positions, verify, verify_member};
use agent_sla::protocol::signed::{ChallengeRequest, FAILED, PASSED};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Of how many samples one may be gone: a quarter (docs/design/sla.md, Challenge).
const GONE_SHARE: usize = 4;

/// Reasons that a receipt names: the first ones show what is wrong.
const REASONS_MAX: usize = 8;

/// Bytes of a reason: a node's own words among them are cut off.
const REASON_BYTES_MAX: usize = 200;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// [`PASSED`] or [`FAILED`].
    pub result: u8,
    /// Why it failed; empty if it did not.
    pub reasons: Vec<String>,
}

/// How many samples an answer must have.
#[must_use]
pub fn wanted(request: &ChallengeRequest, samples: u16) -> usize {
    if request.totalBytes == 0 { 0 } else { usize::from(samples) }
}

/// Verifies an answer: nothing failed, and at most a quarter is gone.
#[must_use]
pub fn judge(
    request: &ChallengeRequest,
    beacon: &B256,
    samples: u16,
    answer: &[Sample],
) -> Finding {
    let commitment =
        Commitment { root: request.dataRoot.0, count: request.objects, bytes: request.totalBytes };
    let positions = positions(beacon, samples, request.totalBytes);
    let mut reasons = Vec::new();
    if positions.len() != answer.len() {
        reasons.push(format!("{} samples, not {}", answer.len(), positions.len()));
    }
    let mut gone = 0;
    for (position, sample) in positions.into_iter().zip(answer) {
        match sampled(&commitment, position, sample) {
            Ok(Found::There) => {}
            Ok(Found::Gone) => gone += 1,
            Err(reason) => reasons.push(reason),
        }
    }
    if gone * GONE_SHARE > answer.len() {
        let of = answer.len();
        reasons.push(format!("{gone} of {of} objects are gone since the cut, more than a quarter"));
    }
    let result = if reasons.is_empty() { PASSED } else { FAILED };
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    reasons.iter_mut().for_each(|reason| shorten(reason, REASON_BYTES_MAX));
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    Finding { result, reasons }
}

enum Found {
    There,
    Gone,
}

fn sampled(commitment: &Commitment, position: u64, sample: &Sample) -> Result<Found, String> {
    let bytes = |text: &str| {
        STANDARD.decode(text).map_err(|_| format!("byte {position}: the proof is not base64"))
    };
    let words = |error: SampleError| error.to_string();
    match sample {
        Sample::Proven { member, slice } => {
            verify(commitment, position, &bytes(member)?, &bytes(slice)?).map_err(words)?;
            Ok(Found::There)
        }
        Sample::Gone { member } => {
            verify_member(commitment, position, &bytes(member)?).map_err(words)?;
            Ok(Found::Gone)
        }
        Sample::Failed { reason } => Err(format!("byte {position}: the node says: {reason}")),
    }
}

/// Cuts a text off behind so many bytes, between two characters.
pub fn shorten(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const BEACON: B256 = B256::repeat_byte(9);

    fn failing() -> Sample {
        Sample::Failed { reason: "x".repeat(1000) }
    }

    #[test]
    fn what_is_proven_passes_and_one_that_is_not_fails_all() {
        let store = Store::new(1);
        let request = store.request();
        let answer = store.answer(&BEACON, 16);
        let passed = Finding { result: PASSED, reasons: Vec::new() };
        assert_eq!(judge(&request, &BEACON, 16, &answer), passed);
        for number in 0..16 {
            let mut one = answer.clone();
            one[number] = failing();
            let found = judge(&request, &BEACON, 16, &one);
            assert_eq!((found.result, found.reasons.len()), (FAILED, 1));
            assert!(found.reasons[0].len() < 300);
        }
        let other = judge(&request, &B256::ZERO, 16, &answer);
        assert_eq!((other.result, other.reasons.len()), (FAILED, REASONS_MAX + 1));
        assert_eq!(judge(&request, &BEACON, 16, &answer[1..]).result, FAILED);
    }

    #[test]
    fn a_quarter_may_be_gone_and_not_one_more() {
        let store = Store::new(1);
        let request = store.request();
        let mut answer = store.answer(&BEACON, 16);
        for (number, expected) in [PASSED, PASSED, PASSED, PASSED, FAILED].into_iter().enumerate() {
            let Sample::Proven { member, .. } = answer[number].clone() else { panic!("proven") };
            answer[number] = Sample::Gone { member };
            let found = judge(&request, &BEACON, 16, &answer);
            assert_eq!(found.result, expected, "{number}: {:?}", found.reasons);
        }
        assert!(answer.iter().any(|sample| matches!(sample, Sample::Proven { .. })));
        let nothing = Sample::Gone { member: "AAAA".to_owned() };
        answer = store.answer(&BEACON, 16);
        answer[3] = nothing;
        assert_eq!(judge(&request, &BEACON, 16, &answer).result, FAILED, "not shown to be gone");
    }

    #[test]
    fn an_empty_node_proves_nothing_and_passes() {
        let empty = ChallengeRequest { totalBytes: 0, objects: 0, ..Store::new(1).request() };
        assert_eq!(wanted(&empty, 16), 0);
        assert_eq!(judge(&empty, &BEACON, 16, &[]).result, PASSED);
        assert_eq!(judge(&empty, &BEACON, 16, &[failing()]).result, FAILED);
    }

    #[test]
    fn words_are_cut_between_characters() {
        let mut text = "äöü".to_owned();
        shorten(&mut text, 3);
        assert_eq!(text, "ä…");
    }
}
