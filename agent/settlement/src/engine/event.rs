//! What happens to an engine, and what it wants done.

use alloy::primitives::B256;

use crate::call::Seq;
use crate::chain::Sent;
use crate::outbox::{Fee, Inclusion, Outcome, ParkReason, Record, Signed};
use crate::preflight::Refusal;
use crate::revert::Revert;

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Seconds since 1970.
    pub unix_s: u64,
}

impl Moment {
    /// Days since 1970, UTC.
    pub(crate) fn day(&self) -> u64 {
        /// Seconds of a day.
        const DAY_S: u64 = 86_400;
        self.unix_s / DAY_S
    }
}

/// How far the chain is, and its prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// What a unit of gas costs, in wei.
    pub base_wei: u128,
    /// What makers of blocks want on top, in wei.
    pub tip_wei: u128,
}

/// Whether the contract shows that a call took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does not show that.
    Unknown,
    /// It did not.
    No,
    /// It did, in a block that may still vanish.
    Latest,
    /// It did, in a safe block.
    Safe,
}

/// What is known before a call is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Transactions of the account that are mined.
    pub mined: u64,
    /// The same, with those that wait.
    pub pending: u64,
    /// What gas costs.
    pub prices: Prices,
    /// What the account has, in wei.
    pub balance_wei: u128,
    /// The gas it needs, or why the contract refuses it.
    pub gas: Result<u64, Revert>,
    /// What to set aside for its data on L1, in wei; 0 where that is not on top of gas.
    pub l1_wei: u128,
    /// Whether it happened already.
    pub effect: Effect,
}

/// What became of transactions of one intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The block that one of them is in.
    pub inclusion: Option<Inclusion>,
    /// Whether the newest of them waits to be mined.
    pub known: bool,
    /// Transactions of the account that are mined.
    pub mined: u64,
    /// The same, in the newest safe block.
    pub mined_safe: u64,
    /// Transactions of the account that are mined or wait to be, without a nonce left out.
    pub pending: u64,
    /// What gas costs.
    pub prices: Prices,
    /// Whether it happened, whoever did it.
    pub effect: Effect,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time passed; the chain is so far.
    Tick {
        /// The newest safe block.
        safe: u64,
        /// The newest final block.
        finalized: u64,
    },
    /// What is known before a call is signed.
    Prepared(Seq, Prepared),
    /// Why nothing may be signed.
    Refused(Seq, Refusal),
    /// What became of transactions.
    Found(Seq, Found),
    /// It was signed.
    Signed(Signed),
    /// What became of sending it.
    Sent(Seq, Sent),
    /// Why it was reverted.
    Diagnosed(Seq, Revert),
    /// What was asked for is not known: something failed.
    Failed(Seq),
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring a record to stable storage. If that fails, nothing behind it is done.
    Persist(Record),
    /// Find out what a call needs: [`Event::Prepared`].
    Prepare(Seq),
    /// Find out what became of it: [`Event::Found`].
    LookUp(Seq),
    /// Sign it: [`Event::Signed`].
    Sign {
        /// Which.
        seq: Seq,
        /// Its nonce.
        nonce: u64,
        /// The gas that it is given.
        gas: u64,
        /// What it pays.
        fee: Fee,
        /// What is set aside for its data on L1, in wei.
        l1_wei: u128,
    },
    /// Send what was signed last: [`Event::Sent`].
    Send(Seq),
    /// Find out why it was reverted: [`Event::Diagnosed`].
    Diagnose(Seq),
    /// Tell whoever wanted it.
    Tell(Notice),
}

/// What callers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It is in a block: to be shown, not to be built on.
    Mined {
        /// Which intent.
        seq: Seq,
        /// The caller's name for it.
        digest: B256,
    },
    /// The block vanished; it was sent again.
    Reorged {
        /// Which intent.
        seq: Seq,
        /// The caller's name for it.
        digest: B256,
    },
    /// The block is safe: to be acted on.
    Safe {
        /// Which intent.
        seq: Seq,
        /// The caller's name for it.
        digest: B256,
    },
    /// It cannot vanish any more; the outbox forgets it.
    Final {
        /// Which intent.
        seq: Seq,
        /// The caller's name for it.
        digest: B256,
        /// How it came about.
        how: Outcome,
    },
    /// Somebody has to look.
    Alarm(Seq, Alarm),
}

/// What somebody has to look at. The call stays in the queue, but for one that is parked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// Nothing may be signed.
    #[error("nothing is signed: {0}")]
    Refused(Refusal),
    /// Gas costs more than the cap.
    #[error("gas costs {wei} wei, more than the cap: the call waits")]
    FeeCap {
        /// What it costs now, in wei.
        wei: u128,
    },
    /// The day's budget is used up.
    #[error("the day's budget for gas is used up: the call waits until tomorrow")]
    Budget,
    /// The account cannot pay.
    #[error("the account has {has_wei} wei, and {needs_wei} are needed: pay into it")]
    NoFunds {
        /// What it has, in wei.
        has_wei: u128,
        /// What the transaction can cost, in wei.
        needs_wei: u128,
    },
    /// The server says that the account cannot pay.
    #[error("the RPC servers say that the account cannot pay: pay into it")]
    ServerSaysNoFunds,
    /// Transactions of the account wait that are not of this outbox.
    #[error(
        "{count} transactions of the account wait that this node did not send: is its key used elsewhere?"
    )]
    Strangers {
        /// How many.
        count: u64,
    },
    /// A nonce below ours is missing.
    #[error("no transaction has nonce {nonce}: it is filled, as those behind it wait")]
    Gap {
        /// The nonce.
        nonce: u64,
    },
    /// Another transaction took its nonce.
    #[error("another transaction took nonce {nonce}: is the key used elsewhere?")]
    NonceTaken {
        /// The nonce.
        nonce: u64,
    },
    /// It was reverted, and is tried again.
    #[error("reverted, tried again later: {0}")]
    Reverted(Revert),
    /// It is given up until somebody looks at it.
    #[error("parked: {0}")]
    Parked(ParkReason),
    /// A server does not take it.
    #[error("the RPC servers do not take it: {0}")]
    NotTaken(String),
}
