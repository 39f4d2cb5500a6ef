//! Whether the node earns, and why or why not, as far as it can know itself.

use std::time::Duration;

use agent_api::sla::{Link, PeerStatus, SlaStatus};
use agent_api::status::{NodeStatus, StateWord};

use super::labels::Lines;
use super::{Tone, span};
use crate::text::duration;

/// What to say about a node's earnings.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Earning {
    tone: Tone,
    word: &'static str,
    why: String,
}

/// Adds whether the node earns. What was paid for it is the chain's to tell.
pub(super) fn line(lines: &mut Lines, status: &NodeStatus) {
    let Earning { tone, word, why } = judge(status);
    lines.add_after("Earning", span(tone, format!("{word}: ")), Tone::Plain, &why);
}

fn judge(status: &NodeStatus) -> Earning {
    let Some(sla) = &status.sla else {
        let why = "node.toml names no oracles ([sla])".to_owned();
        return Earning { tone: Tone::Faint, word: "no", why };
    };
    let not_yet = |why: &str| Earning { tone: Tone::Warning, word: "not yet", why: why.to_owned() };
    if status.state.word == StateWord::Unavailable {
        let why = "no objects are served, so no oracle can be answered".to_owned();
        return Earning { tone: Tone::Bad, word: "no", why };
    }
    if status.daemon.is_none() {
        return not_yet("the node has no daemon key until its first disk is in use");
    }
    if let Some(why) = &sla.awaited {
        return not_yet(why);
    }
    judge_oracles(sla)
}

fn judge_oracles(sla: &SlaStatus) -> Earning {
    let oracles: Vec<&PeerStatus> =
        sla.peers.iter().filter(|peer| peer.address.is_some()).collect();
    let in_session = oracles.iter().filter(|peer| peer.link == Link::InSession).count();
    if in_session == 0 {
        let why = match oracles.iter().find(|peer| peer.link != Link::Connecting) {
            Some(peer) => format!("no oracle is in session; {}: {}", peer.name, peer.words),
            None => "no oracle is in session yet".to_owned(),
        };
        return Earning { tone: Tone::Warning, word: "no", why };
    }
    let receipts = || oracles.iter().filter_map(|peer| peer.receipt.as_ref());
    let Some(era) = receipts().map(|receipt| receipt.era).max() else {
        let why = match sla.era {
            Some(era) => format!(
                "no oracle has given a receipt yet; this era ends in {}",
                duration(Duration::from_secs(era.ends_in_seconds))
            ),
            None => "no era has begun yet".to_owned(),
        };
        return Earning { tone: Tone::Warning, word: "not yet", why };
    };
    let of_era = || receipts().filter(|receipt| receipt.era == era);
    let passed = of_era().filter(|receipt| receipt.passed).count();
    let mut why = format!("era {era} was passed with {passed} of {} oracles", oracles.len());
    let (tone, word) = match passed {
        0 => (Tone::Bad, "no"),
        all if all == oracles.len() => (Tone::Good, "yes"),
        _ => (Tone::Warning, "in part"),
    };
    let failed = of_era().find(|receipt| !receipt.passed);
    if let Some(reason) = failed.and_then(|receipt| receipt.reasons.first()) {
        why.push_str(&format!("; {reason}"));
    }
    Earning { tone, word, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// The judgement on a node of whose oracles something else is so.
    fn with(change: impl FnOnce(&mut SlaStatus)) -> (&'static str, String) {
        let mut status = fixtures::normal();
        change(status.sla.as_mut().expect("oracles"));
        let Earning { word, why, .. } = judge(&status);
        (word, why)
    }

    #[test]
    fn a_node_earns_by_what_its_oracles_found_in_the_last_era() {
        let passed = ("yes", "era 411 was passed with 3 of 3 oracles".to_owned());
        assert_eq!(with(|_| {}), passed);
        let part = with(|sla| sla.peers[1].receipt = None);
        assert_eq!(part, ("in part", "era 411 was passed with 2 of 3 oracles".to_owned()));
        let failed = with(|sla| {
            for receipt in sla.peers.iter_mut().filter_map(|peer| peer.receipt.as_mut()) {
                receipt.passed = false;
                receipt.reasons = vec!["two proofs were wrong".to_owned()];
            }
        });
        let why = "era 411 was passed with 0 of 3 oracles; two proofs were wrong".to_owned();
        assert_eq!(failed, ("no", why));
        let old = with(|sla| sla.peers[0].receipt.as_mut().expect("a receipt").era = 412);
        assert_eq!(old, ("in part", "era 412 was passed with 1 of 3 oracles".to_owned()));
    }

    #[test]
    fn without_oracles_or_receipts_it_is_told_what_is_missing() {
        let mut alone = fixtures::normal();
        alone.sla = None;
        assert_eq!(judge(&alone).word, "no");
        let first = with(|sla| sla.peers.iter_mut().for_each(|peer| peer.receipt = None));
        let why = "no oracle has given a receipt yet; this era ends in 13 min".to_owned();
        assert_eq!(first, ("not yet", why));
        let unknown = with(|sla| {
            for peer in &mut sla.peers {
                peer.link = Link::NotAdmitted;
                peer.words = "it does not know the daemon address".to_owned();
            }
        });
        let why = "no oracle is in session; oracle-1: it does not know the daemon address";
        assert_eq!(unknown, ("no", why.to_owned()));
        let mut keyless = fixtures::normal();
        keyless.daemon = None;
        assert_eq!(judge(&keyless).word, "not yet");
    }
}
