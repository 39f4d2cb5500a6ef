//! An engine with a clock of its own.

use agent_settlement::call::{Call, Seq, Wanted};
use agent_settlement::chain::Chain;
use agent_settlement::engine::event::{Alarm, Moment, Notice};
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::Stage;
use agent_settlement::engine::{Engine, Report, Setup, StepError};
use agent_settlement::key::PayerKey;
use agent_settlement::outbox::{Backend, Outcome};
use agent_settlement::preflight::{Contract, Target};
use agent_settlement::revert::{Class, KnownError};
use alloy::primitives::{Address, keccak256};

use crate::anvil::{Anvil, CHAIN, COUNTER, KEY};

/// Reverts with this never help.
pub(crate) const GONE: [u8; 4] = [0xde, 0xad, 0, 1];

/// Reverts with this may be over later.
pub(crate) const NOT_YET: [u8; 4] = [0xde, 0xad, 0, 2];

pub(crate) fn key() -> PayerKey {
    PayerKey::parse(KEY.as_bytes()).expect("a key")
}

pub(crate) fn setup() -> Setup {
    let contracts = vec![Contract { name: "counter", address: COUNTER, version: None }];
    let known = |selector, signature, class| KnownError { selector, signature, class };
    Setup {
        target: Target { chain: CHAIN, hp: Address::repeat_byte(0xaa), contracts },
        // Blocks that are made at once have times that run ahead.
        policy: Policy { skew_max_s: 1_000_000, ..Policy::default() },
        errors: vec![
            known(GONE, "Gone()", Class::Terminal),
            known(NOT_YET, "NotYet()", Class::Retryable),
        ],
    }
}

/// An engine, its clock, and all that it said.
pub(crate) struct Rig<B, C> {
    pub(crate) engine: Engine<B, C>,
    pub(crate) now: Moment,
    pub(crate) notices: Vec<Notice>,
    pub(crate) errors: Vec<StepError>,
}

/// The time by the host's clock, in seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

impl<B: Backend, C: Chain> Rig<B, C> {
    pub(crate) async fn open(backend: B, chain: C, setup: Setup) -> Self {
        let engine = Engine::open(backend, chain, key(), setup).await.expect("it opens");
        Self::around(engine)
    }

    pub(crate) fn around(engine: Engine<B, C>) -> Self {
        let now = Moment { ms: 1_000_000, unix_s: unix_s() };
        Self { engine, now, notices: Vec::new(), errors: Vec::new() }
    }

    pub(crate) fn want(&mut self, call: Call) -> Seq {
        let digest = keccak256(&call.data);
        self.engine.enqueue(Wanted { digest, call }).expect("it is taken")
    }

    /// Time passes, and the engine looks.
    pub(crate) async fn tick(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.unix_s += ms / 1000;
        let Report { notices, errors } = self.engine.tick(self.now).await.expect("it works");
        self.notices.extend(notices);
        self.errors.extend(errors);
    }

    /// Blocks are made and the engine looks, until nothing is open.
    pub(crate) async fn finish(&mut self, anvil: &Anvil) {
        for _ in 0..60 {
            if self.engine.state().open().next().is_none() {
                return;
            }
            self.tick(10_000).await;
            anvil.mine(1).await;
        }
        let open: Vec<_> = self.engine.state().open().collect();
        panic!("still open: {open:?}; {:?}; {:?}", self.notices, self.errors);
    }

    pub(crate) fn stage(&self, seq: Seq) -> Option<&Stage> {
        self.engine.state().get(seq).map(|entry| &entry.stage)
    }

    pub(crate) fn alarms(&self) -> Vec<&Alarm> {
        let mut alarms = Vec::new();
        for notice in &self.notices {
            if let Notice::Alarm(_, alarm) = notice {
                alarms.push(alarm);
            }
        }
        alarms
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |notice: &Notice| match notice {
            Notice::Final { how, .. } => Some(*how),
            _ => None,
        };
        self.notices.iter().filter_map(outcome).collect()
    }
}
