//! What the answers to a proposal come to: pure.

use agent_sla::protocol::Address;
use agent_sla::protocol::signed::Signature;

use super::wire::{Objection, Proposal, Reply};

/// The answers to a proposal, sorted by what is done with them.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// So many agree.
    pub(super) agreed: usize,
    /// What others signed for the same eras: they can agree to nothing else.
    pub(super) signed: Vec<(Address, Proposal, Signature)>,
    /// What else is objected.
    pub(super) objections: Vec<(Address, Objection)>,
}

impl Replies {
    pub(super) fn sort(replies: Vec<(Address, Reply)>) -> Self {
        let mut sorted = Self::default();
        for (peer, reply) in replies {
            match reply {
                Reply::Agreed | Reply::Signed { .. } => sorted.agreed += 1,
                Reply::Objects { objection: Objection::AlreadySigned { proposal, signature } } => {
                    sorted.signed.push((peer, *proposal, signature));
                }
                Reply::Objects { objection } => sorted.objections.push((peer, objection)),
            }
        }
        sorted
    }

    /// Whether the votes that are named are not those that count any more: nobody who knows that will agree.
    fn is_outdated(&self) -> bool {
        let shows = |objection: &Objection| {
            matches!(
                objection,
                Objection::Lacks { .. }
                    | Objection::Equivocated { .. }
                    | Objection::OtherVoids { .. }
            )
        };
        self.objections.iter().any(|(_, objection)| shows(objection))
    }

    /// What is proposed next in place of what all votes come to, now that `proposed` was answered so and a quorum agreed
    /// or not: what somebody really signed, where that was not agreed on; none where what was adopted is outdated.
    pub(super) fn adopt(
        &self,
        adopted: Option<Proposal>,
        proposed: &Proposal,
        is_agreed: bool,
        is_real: impl Fn(Address, &Proposal, Signature) -> bool,
    ) -> Option<Proposal> {
        if is_agreed {
            return adopted;
        }
        if adopted.as_ref() == Some(proposed) && self.is_outdated() {
            return None;
        }
        let real = self.signed.iter().find(|(peer, proposal, by)| is_real(*peer, proposal, *by));
        real.map(|(_, proposal, _)| proposal.clone()).or(adopted)
    }
}

#[cfg(test)]
mod tests {
    use agent_sla::protocol::settled::EraRoot;
    use agent_sla::protocol::{B256, U256};

    use super::super::wire::SetName;
    use super::*;

    fn proposal(total: u64) -> Proposal {
        let root = EraRoot {
            fromEra: 5,
            toEra: 6,
            previous: B256::ZERO,
            root: B256::ZERO,
            votesRoot: B256::ZERO,
            totalReward: U256::from(total),
            totalPenalty: U256::ZERO,
            configDigest: B256::ZERO,
        };
        Proposal { root, sets: Vec::new(), voided: Vec::new() }
    }

    fn signed(by: u8, total: u64) -> (Address, Reply) {
        let (proposal, signature) = (Box::new(proposal(total)), Signature([by; 65]));
        let objection = Objection::AlreadySigned { proposal, signature };
        (Address::repeat_byte(by), Reply::Objects { objection })
    }

    fn lacks(by: u8) -> (Address, Reply) {
        let oracle = Address::repeat_byte(by);
        let set = SetName { era: 5, oracle, count: 1, digest: B256::ZERO };
        (oracle, Reply::Objects { objection: Objection::Lacks { set } })
    }

    /// Its signature is its own.
    fn is_real(peer: Address, _: &Proposal, signature: Signature) -> bool {
        signature.0[0] == peer.0[0] && signature.0[0] < 8
    }

    #[test]
    fn one_that_signed_another_root_is_no_veto() {
        let agreed = |by| (Address::repeat_byte(by), Reply::Agreed);
        let replies = Replies::sort(vec![agreed(1), signed(2, 70), agreed(3), lacks(4)]);
        assert_eq!((replies.agreed, replies.signed.len(), replies.objections.len()), (2, 1, 1));
        assert_eq!(replies.adopt(None, &proposal(1), true, is_real), None);
        assert_eq!(replies.adopt(None, &proposal(1), false, is_real), Some(proposal(70)));
    }

    #[test]
    fn what_was_adopted_goes_when_votes_are_missing_in_it() {
        let (ours, adopted) = (proposal(1), proposal(70));
        let adopt = |replies, proposed: &Proposal| {
            Replies::sort(replies).adopt(Some(adopted.clone()), proposed, false, is_real)
        };
        assert_eq!(adopt(vec![], &adopted), Some(adopted.clone()), "others may be away");
        assert_eq!(adopt(vec![lacks(4), signed(2, 80)], &adopted), None);
        assert_eq!(adopt(vec![lacks(4)], &ours), Some(adopted.clone()), "it was not proposed");
        assert_eq!(adopt(vec![signed(2, 80)], &adopted), Some(proposal(80)));
        assert_eq!(adopt(vec![signed(9, 80)], &adopted), Some(adopted.clone()), "it is forged");
    }
}
