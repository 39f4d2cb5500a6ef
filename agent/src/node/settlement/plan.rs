//! What is to be done by what is known. Pure.

use std::time::Duration;

use agent_settlement::backend::roots::{Done, Eras, Roots};
use agent_settlement::backend::{NodeStatus, Standing};
use agent_settlement::call::Seq;
use agent_settlement::claim::{ClaimEvent, ClaimStage, RewardClaim, Root};
use agent_settlement::usage::UsageRecord;
use agent_sla::protocol::B256;
use alloy::primitives::U256;
use provisioning_config::settlement::Gas;

use super::book::{Book, Place};

/// The longest time over which nodes spread their claims of one root: an hour empties any queue, and is little beside a
/// dispute window.
const SPREAD_MAX: Duration = Duration::from_secs(3600);

/// What the reference contracts said at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) status: NodeStatus,
    pub(super) done: Done,
    pub(super) roots: Roots,
    pub(super) eras: Eras,
    /// When the newest block was made, in seconds since 1970.
    pub(super) time_s: u64,
}

/// How eras are counted by `[sla]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnEras {
    pub(super) genesis: u64,
    pub(super) seconds: u64,
}

/// How far what was earned is; none where no root is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub(super) earned: Option<U256>,
    pub(super) pending: Option<U256>,
    pub(super) claimable: Option<U256>,
    pub(super) forfeited: Option<U256>,
}

/// A call of ours that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenClaim {
    pub(super) seq: Seq,
    /// The root's number.
    pub(super) root: u64,
    pub(super) is_mined: bool,
    pub(super) is_parked: bool,
}

/// Why nothing is claimed now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wait {
    /// It is told not to.
    #[error("the node only watches (pay_gas = false): whoever likes claims for its HP")]
    Watches,
    /// Eras are counted otherwise.
    #[error(
        "[sla] and the chain count eras otherwise: genesis {own_genesis} and {own_seconds} s here, \
         {genesis} and {seconds} s there; correct [sla]"
    )]
    Eras {
        /// Here.
        own_genesis: u64,
        /// Here.
        own_seconds: u64,
        /// There.
        genesis: u64,
        /// There.
        seconds: u64,
    },
    /// Another HP is paid.
    #[error("the chain has this node with another HP account: correct hp_account")]
    OtherHp,
    /// The contracts do not know it.
    #[error("the node is not registered: its HP does that")]
    NotRegistered,
    /// A claim is on its way.
    #[error("a claim is on its way")]
    UnderWay,
    /// There is no root.
    #[error("no root with this node is final yet")]
    NoRoot,
    /// All was paid.
    #[error("all that is final was paid")]
    Paid,
    /// It would pay nothing.
    #[error("rewards are held back: a claim would pay nothing")]
    Held,
    /// It is too little.
    #[error("{0} are less than claim_at_least")]
    Little(String),
    /// It is not time yet.
    #[error("the next claim is in {0} s at the earliest")]
    Early(u64),
}

/// How far what was earned is.
pub(super) fn amounts(book: &Book, chain: &Chain) -> Amounts {
    let newest = book.roots.last();
    let last = book.newest_final(&chain.roots);
    let paid = chain.done.reward;
    // Before any root is final, nothing of it is.
    let sure = last.map_or(paid, Place::reward);
    Amounts {
        earned: newest.map(Place::reward),
        pending: newest.map(|place| place.reward().saturating_sub(sure)),
        claimable: last.map(|place| place.reward().saturating_sub(paid)),
        forfeited: newest.map(Place::penalty),
    }
}

/// What to claim now.
///
/// # Errors
/// Nothing, and why.
pub(super) fn claim<'a>(
    book: &'a Book,
    chain: &Chain,
    own: OwnEras,
    hp: agent_sla::protocol::Address,
    gas: Option<&Gas>,
    open: &[OpenClaim],
    now_s: u64,
) -> Result<&'a Place, Wait> {
    let gas = gas.ok_or(Wait::Watches)?;
    agree(own, &chain.eras)?;
    match chain.status.hp {
        None => return Err(Wait::NotRegistered),
        Some(found) if found != hp => return Err(Wait::OtherHp),
        Some(_) => {}
    }
    if open.iter().any(|claim| !claim.is_parked) {
        return Err(Wait::UnderWay);
    }
    let place = book.newest_final(&chain.roots).ok_or(Wait::NoRoot)?;
    let amount = place.reward().saturating_sub(chain.done.reward);
    if amount == U256::ZERO {
        return Err(Wait::Paid);
    }
    if is_held(chain) {
        return Err(Wait::Held);
    }
    if amount < U256::from(gas.claim_at_least) {
        return Err(Wait::Little(agent_api::settlement::tokens(&amount.to_string())));
    }
    let last = book.claims.iter().map(|claim| claim.at).max();
    let again = last.map_or(0, |last| last.saturating_add(gas.claim_every.as_secs()));
    let final_at = place.posted_at.saturating_add(chain.roots.window_s);
    let from = final_at.saturating_add(spread(place, gas.claim_every)).max(again);
    match from.checked_sub(now_s) {
        None | Some(0) => Ok(place),
        Some(seconds) => Err(Wait::Early(seconds)),
    }
}

/// In what configuration and chain differ; none where they do not.
pub(super) fn mismatch(
    chain: &Chain,
    own: OwnEras,
    hp: agent_sla::protocol::Address,
) -> Option<Wait> {
    let is_other = chain.status.hp.is_some_and(|found| found != hp);
    agree(own, &chain.eras).err().or(is_other.then_some(Wait::OtherHp))
}

/// That eras are counted here as there.
fn agree(own: OwnEras, eras: &Eras) -> Result<(), Wait> {
    let seconds = u64::from(eras.seconds);
    if (own.genesis, own.seconds) == (eras.genesis, seconds) {
        return Ok(());
    }
    Err(Wait::Eras {
        own_genesis: own.genesis,
        own_seconds: own.seconds,
        genesis: eras.genesis,
        seconds,
    })
}

/// Whether a claim would pay nothing: such rewards are paid again once the exit's delay is over.
fn is_held(chain: &Chain) -> bool {
    let left = chain.status.exit_at.is_some_and(|exit_at| exit_at <= chain.time_s);
    matches!(chain.status.standing, Standing::RewardsHeld | Standing::Slashing) && !left
}

/// How long after a root is final this node claims, in seconds: by its name and the root, so that nodes do not
/// come together.
fn spread(place: &Place, every: Duration) -> u64 {
    let most = SPREAD_MAX.min(every / 4).as_secs();
    let leaf = place.leaf();
    let drawn = alloy::primitives::keccak256([leaf.nodeId.0, place.digest.0].concat());
    let drawn = drawn.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    drawn.checked_rem(most).unwrap_or(0)
}

/// How far pay for each record is: derived anew from records, roots, contracts and the outbox, each time.
pub(super) fn stages<'a>(
    node: B256,
    records: impl Iterator<Item = &'a UsageRecord>,
    book: &Book,
    chain: Option<&Chain>,
    open: &[OpenClaim],
) -> Vec<(&'a UsageRecord, ClaimStage)> {
    let stage = |record: &'a UsageRecord| {
        let mut claim = RewardClaim::accrued(node, record);
        if let Some(chain) = chain {
            follow(&mut claim, book, chain, open);
        }
        (record, claim.stage)
    };
    records.map(stage).collect()
}

fn follow(claim: &mut RewardClaim, book: &Book, chain: &Chain, open: &[OpenClaim]) {
    let Some(place) = book.roots.iter().find(|place| place.to_era() >= claim.to_era) else {
        return;
    };
    let final_at = place.posted_at.saturating_add(chain.roots.window_s);
    let (id, digest) = (place.number, place.digest);
    claim.step(ClaimEvent::Posted(Root { id, digest, to_era: place.to_era(), final_at }));
    if place.number >= chain.roots.finals {
        return;
    }
    // The contract says that it is final: the clock of its blocks is beyond that moment.
    claim.step(ClaimEvent::Time(chain.time_s.max(final_at)));
    if chain.done.reward >= place.reward() {
        claim.step(ClaimEvent::PaidByAnother(digest));
        return;
    }
    // A claim of a newer root pays for this one too.
    let ours = open.iter().find(|ours| ours.root >= place.number);
    match ours {
        Some(ours) => {
            claim.step(ClaimEvent::Queued(digest, ours.seq));
            if ours.is_parked {
                claim.step(ClaimEvent::Parked(ours.seq));
            } else if ours.is_mined {
                claim.step(ClaimEvent::Mined(ours.seq));
            }
        }
        None if is_held(chain) => drop(claim.step(ClaimEvent::Held)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use agent_settlement::usage::Reading;
    use agent_sla::protocol::Address;

    use super::super::book::Claimed;
    use super::super::book::tests::place;
    use super::*;

    const OWN: OwnEras = OwnEras { genesis: 0, seconds: 60 };
    const HP: Address = Address::repeat_byte(0x48);

    fn gas() -> Gas {
        Gas {
            max_fee_wei: 1,
            day_budget_wei: 1,
            claim_every: Duration::from_secs(400),
            claim_at_least: 0,
        }
    }

    fn chain(count: u64, finals: u64, paid: u64) -> Chain {
        Chain {
            status: NodeStatus {
                standing: Standing::Healthy,
                hp: Some(HP),
                daemon: None,
                exit_at: None,
            },
            done: Done { reward: U256::from(paid), penalty: U256::ZERO },
            roots: Roots { count, finals, window_s: 60 },
            eras: Eras { current: 20, genesis: 0, seconds: 60 },
            time_s: 5000,
        }
    }

    fn book() -> Book {
        Book { roots: vec![place(1, 100), place(2, 150), place(3, 180)], ..Book::default() }
    }

    fn why(book: &Book, chain: &Chain, gas: Option<&Gas>, open: &[OpenClaim], now: u64) -> Wait {
        claim(book, chain, OWN, HP, gas, open, now).expect_err("nothing is claimed")
    }

    #[test]
    fn what_was_earned_is_divided_by_how_far_it_is() {
        let found = amounts(&book(), &chain(4, 3, 100));
        let expected = Amounts {
            earned: Some(U256::from(180)),
            pending: Some(U256::from(30)),
            claimable: Some(U256::from(50)),
            forfeited: Some(U256::ZERO),
        };
        assert_eq!(found, expected);
        assert_eq!(amounts(&Book::default(), &chain(0, 0, 0)), Amounts::default());
    }

    #[test]
    fn the_newest_final_root_is_claimed_once_it_is_time() {
        let (book, chain, gas) = (book(), chain(4, 3, 100), gas());
        let taken = claim(&book, &chain, OWN, HP, Some(&gas), &[], 5000).expect("a claim");
        assert_eq!(taken.number, 2);
        // Posted at 1002, final 60 s later, spread over a quarter of 400 s.
        let Wait::Early(seconds) = why(&book, &chain, Some(&gas), &[], 1061) else {
            panic!("early")
        };
        assert!((1..=101).contains(&seconds), "{seconds}");
        let claims = vec![Claimed {
            digest: B256::ZERO,
            root: 1,
            reward: U256::from(100),
            at: 4900,
            transaction: None,
            is_final: true,
        }];
        let again = Book { claims, ..book };
        assert_eq!(why(&again, &chain, Some(&gas), &[], 5000), Wait::Early(300));
        assert!(claim(&again, &chain, OWN, HP, Some(&gas), &[], 5300).is_ok());
    }

    #[test]
    fn each_reason_to_wait_is_told() {
        let (book, now, gas) = (book(), 5000, gas());
        let well = || chain(4, 3, 100);
        assert_eq!(why(&book, &well(), None, &[], now), Wait::Watches);
        let gas = Some(&gas);
        let other = Chain { eras: Eras { genesis: 1, ..well().eras }, ..well() };
        assert!(matches!(why(&book, &other, gas, &[], now), Wait::Eras { genesis: 1, .. }));
        assert_eq!(mismatch(&other, OWN, HP), Some(why(&book, &other, gas, &[], now)));
        assert_eq!(mismatch(&well(), OWN, HP), None);
        assert_eq!(mismatch(&well(), OWN, Address::ZERO), Some(Wait::OtherHp));
        let mut nobody = well();
        nobody.status.hp = None;
        assert_eq!(why(&book, &nobody, gas, &[], now), Wait::NotRegistered);
        nobody.status.hp = Some(Address::ZERO);
        assert_eq!(why(&book, &nobody, gas, &[], now), Wait::OtherHp);
        let mut open = OpenClaim { seq: Seq(1), root: 2, is_mined: false, is_parked: false };
        assert_eq!(why(&book, &well(), gas, &[open], now), Wait::UnderWay);
        open.is_parked = true;
        assert!(claim(&book, &well(), OWN, HP, gas, &[open], now).is_ok(), "it blocks no other");
        assert_eq!(why(&book, &chain(4, 0, 0), gas, &[], now), Wait::NoRoot);
        assert_eq!(why(&book, &chain(4, 3, 150), gas, &[], now), Wait::Paid);
        let mut held = well();
        held.status.standing = Standing::RewardsHeld;
        assert_eq!(why(&book, &held, gas, &[], now), Wait::Held);
        held.status.exit_at = Some(4999);
        assert!(claim(&book, &held, OWN, HP, gas, &[], now).is_ok(), "its exit's delay is over");
        let dear = Gas { claim_at_least: 51, ..self::gas() };
        assert!(matches!(why(&book, &well(), Some(&dear), &[], now), Wait::Little(_)));
    }

    #[test]
    fn pay_for_an_era_goes_from_stage_to_stage_and_comes_out_the_same_after_a_restart() {
        let reading = Reading::default();
        let record = |era| UsageRecord::between(era, era, &reading, &reading).expect("an era");
        // Roots 1, 2 and 3 go up to eras 3, 5 and 7.
        let records: Vec<_> = [3, 4, 7, 9].map(record).to_vec();
        let (book, node) = (book(), B256::repeat_byte(1));
        let names = |chain: Option<&Chain>, open: &[OpenClaim]| {
            let stages = stages(node, records.iter(), &book, chain, open);
            let name = |(_, stage): (&UsageRecord, ClaimStage)| match stage {
                ClaimStage::Accrued => "accrued",
                ClaimStage::RootPosted(_) => "posted",
                ClaimStage::Claimable(_) => "claimable",
                ClaimStage::Held(_) => "held",
                ClaimStage::Sent(..) => "sent",
                ClaimStage::Mined(..) => "mined",
                ClaimStage::Final(_) => "paid",
                ClaimStage::Disputed(_) => "disputed",
            };
            stages.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(None, &[]), ["accrued"; 4]);
        let chain = chain(4, 3, 100);
        assert_eq!(names(Some(&chain), &[]), ["paid", "claimable", "posted", "accrued"]);
        let mut open = OpenClaim { seq: Seq(1), root: 2, is_mined: false, is_parked: false };
        assert_eq!(names(Some(&chain), &[open])[1], "sent");
        open.is_mined = true;
        assert_eq!(names(Some(&chain), &[open])[1], "mined");
        open.is_parked = true;
        assert_eq!(names(Some(&chain), &[open])[1], "held");
        let mut held = chain.clone();
        held.status.standing = Standing::RewardsHeld;
        assert_eq!(names(Some(&held), &[]), ["paid", "held", "posted", "accrued"]);
    }
}
