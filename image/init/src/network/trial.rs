//! Which network settings are in effect: those of node.toml, others that were given since, or a change
//! that is tried. Pure.
//!
//! ```text
//!             try                   confirm
//!   stable ─────────→ on trial ───────────────→ stable, with the change
//!     ↑ use              │ revert, or nobody confirms within TRIAL
//!     └──────────────────┘
//! ```
//!
//! Nothing of this outlives a restart of the machine: what was confirmed, the agent keeps and gives back.

use std::time::Duration;

use agent_api::init::{InitReply, InitRequest, NetworkOrigin, NetworkState};
use provisioning_config::{Network, Problem, parse_network};

use crate::supervisor::Time;

/// How long a change is in effect unless somebody confirms it: enough for a link to come up through
/// spanning tree (50 s, IEEE 802.1D) and LACP, for a lease, and for a person to reach the node again.
const TRIAL: Duration = Duration::from_secs(120);

/// The settings, and the change that is tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trials {
    seed: Network,
    /// What was given since; none while node.toml counts.
    set: Option<Network>,
    trial: Option<Trial>,
}

/// A change until it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trial {
    network: Network,
    until: Time,
}

impl Trials {
    /// With the settings of node.toml.
    pub(crate) fn new(seed: Network) -> Self {
        Self { seed, set: None, trial: None }
    }

    /// What the ports are to be set up by.
    pub(crate) fn in_effect(&self) -> &Network {
        self.trial.as_ref().map_or_else(|| self.stable(), |trial| &trial.network)
    }

    /// What is in effect once nothing is tried.
    fn stable(&self) -> &Network {
        self.set.as_ref().unwrap_or(&self.seed)
    }

    /// When a change is taken back.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.trial.as_ref().map(|trial| trial.until)
    }

    /// Takes a change back whose time is over; true where there is one.
    pub(crate) fn tick(&mut self, now: Time) -> bool {
        self.trial.take_if(|trial| now >= trial.until).is_some()
    }

    /// What is told of it.
    pub(crate) fn state(&self, now: Time) -> NetworkState {
        let left = self.deadline().map(|until| until.saturating_sub(now));
        NetworkState {
            origin: if self.set.is_some() { NetworkOrigin::Set } else { NetworkOrigin::Seed },
            text: self.stable().to_toml(),
            tried: self.trial.as_ref().map(|trial| trial.network.to_toml()),
            // Whole seconds; the last one counts until it is over.
            seconds_left: left.map(|left| {
                let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                u32::try_from(whole).unwrap_or(u32::MAX)
            }),
        }
    }

    /// Decides on a request; none where it is not about the network.
    pub(crate) fn answer(&mut self, request: &InitRequest, now: Time) -> Option<InitReply> {
        // What ran out is not to be confirmed, however late the turn of the loop comes.
        self.tick(now);
        let decided = match request {
            InitRequest::TryNetwork { text } => self.begin(text, now),
            InitRequest::ConfirmNetwork => self.end().map(|network| self.set = Some(network)),
            InitRequest::RevertNetwork => self.end().map(|_| ()),
            InitRequest::UseNetwork { text } => self.put(text.as_deref()),
            InitRequest::Status | InitRequest::PowerOff | InitRequest::Reboot => return None,
        };
        Some(match decided {
            Ok(()) => InitReply::Accepted,
            Err(reason) => InitReply::Refused { reason },
        })
    }

    fn begin(&mut self, text: &str, now: Time) -> Result<(), String> {
        self.refuse_on_trial()?;
        let network = read(text)?;
        self.trial = Some(Trial { network, until: now.saturating_add(TRIAL) });
        Ok(())
    }

    fn end(&mut self) -> Result<Network, String> {
        let trial = self.trial.take();
        let none = "no change of the network is being tried, or its time is over";
        trial.map(|trial| trial.network).ok_or_else(|| none.to_owned())
    }

    fn put(&mut self, text: Option<&str>) -> Result<(), String> {
        self.refuse_on_trial()?;
        self.set = text.map(read).transpose()?;
        Ok(())
    }

    fn refuse_on_trial(&self) -> Result<(), String> {
        match self.trial {
            Some(_) => {
                Err("a change of the network is being tried: confirm or revert it first".into())
            }
            None => Ok(()),
        }
    }
}

fn read(text: &str) -> Result<Network, String> {
    let told = |problems: Vec<Problem>| {
        let told: Vec<_> = problems.iter().map(|problem| problem.told_of("the change")).collect();
        told.join("\n")
    };
    parse_network(text).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    fn dns(last: u8) -> String {
        format!("[network]\ndns = [\"192.0.2.{last}\"]\n")
    }

    fn network(last: u8) -> Network {
        parse_network(&dns(last)).expect("no mistake")
    }

    fn accepted(trials: &mut Trials, request: InitRequest, now: u64) -> bool {
        trials.answer(&request, at(now)) == Some(InitReply::Accepted)
    }

    fn trying(last: u8) -> InitRequest {
        InitRequest::TryNetwork { text: dns(last) }
    }

    #[test]
    fn a_change_is_in_effect_for_its_time_and_stays_only_when_confirmed() {
        let mut trials = Trials::new(network(1));
        assert!(accepted(&mut trials, trying(2), 10));
        assert_eq!((trials.in_effect(), trials.deadline()), (&network(2), Some(at(130))));
        assert_eq!(trials.state(at(11)).seconds_left, Some(119));
        assert!(!accepted(&mut trials, trying(3), 11), "one at a time");
        assert!(!trials.tick(at(129)));
        assert!(trials.tick(at(130)));
        assert_eq!(trials, Trials::new(network(1)));
        assert!(accepted(&mut trials, trying(2), 200));
        assert!(!accepted(&mut trials, InitRequest::ConfirmNetwork, 320), "too late");
        assert_eq!(trials.in_effect(), &network(1));
        assert!(accepted(&mut trials, trying(2), 400));
        assert!(accepted(&mut trials, InitRequest::ConfirmNetwork, 519));
        assert!(!trials.tick(at(1000)));
        assert_eq!(trials.in_effect(), &network(2));
        let state = trials.state(at(1000));
        assert_eq!(
            (state.origin, state.text, state.seconds_left),
            (NetworkOrigin::Set, dns(2), None)
        );
    }

    #[test]
    fn a_change_with_a_mistake_is_refused_in_words() {
        let mut trials = Trials::new(network(1));
        let request = InitRequest::TryNetwork { text: "[network]\ndns = [\"x\"]\n".to_owned() };
        let Some(InitReply::Refused { reason }) = trials.answer(&request, at(1)) else {
            panic!("taken");
        };
        assert!(reason.starts_with("the change line 2, network.dns: \"x\" is not"), "{reason}");
        assert_eq!(trials, Trials::new(network(1)));
        assert_eq!(trials.answer(&InitRequest::Reboot, at(1)), None);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Try(u8),
        Confirm,
        Revert,
        Use(Option<u8>),
        Tick,
    }

    fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
        let event = prop_oneof![
            (1_u8..9).prop_map(Event::Try),
            Just(Event::Confirm),
            Just(Event::Revert),
            proptest::option::of(1_u8..9).prop_map(Event::Use),
            Just(Event::Tick),
        ];
        proptest::collection::vec((event, 0_u64..90), 0..40)
    }

    proptest! {
        /// Against a model that knows only who gave what when.
        #[test]
        fn whatever_comes_in_whatever_order_only_what_was_confirmed_stays(events in events()) {
            let mut trials = Trials::new(network(100));
            let (mut now, mut stable, mut tried) = (0, 100, None::<(u8, u64)>);
            for (event, pause) in events {
                now += pause;
                tried = tried.filter(|(_, until)| now < *until);
                let is_free = tried.is_none();
                let (request, expected) = match event {
                    Event::Tick => {
                        trials.tick(at(now));
                        prop_assert_eq!(trials.in_effect(), &network(tried.map_or(stable, |t| t.0)));
                        continue;
                    }
                    Event::Try(last) => {
                        tried = tried.or(Some((last, now + 120)));
                        (trying(last), is_free)
                    }
                    Event::Confirm => {
                        stable = tried.take().map_or(stable, |tried| tried.0);
                        (InitRequest::ConfirmNetwork, !is_free)
                    }
                    Event::Revert => {
                        tried = None;
                        (InitRequest::RevertNetwork, !is_free)
                    }
                    Event::Use(last) => {
                        if is_free {
                            stable = last.unwrap_or(100);
                        }
                        (InitRequest::UseNetwork { text: last.map(dns) }, is_free)
                    }
                };
                prop_assert_eq!(accepted(&mut trials, request, now), expected);
                prop_assert_eq!(trials.in_effect(), &network(tried.map_or(stable, |t| t.0)));
                prop_assert_eq!(trials.deadline(), tried.map(|(_, until)| at(until)));
            }
        }
    }
}
