//! The first steps on a new node: at most five, each with something safe that Enter takes. Pure.

use agent_api::health::ClockReading;
use agent_api::init::PortStatus;
use agent_api::status::{ConsoleChanges, NodeStatus, StateWord, VolumeState};

/// A step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The network works, or gets a static address.
    #[default]
    Network,
    /// The clock is kept.
    Clock,
    /// Which disks are taken.
    Disks,
    /// A PIN, for who wants one.
    Pin,
    /// What to write down.
    Summary,
}

/// How far somebody is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Whether they are shown.
    pub(crate) is_open: bool,
    /// Whether they came up by themselves; that happens once.
    pub(crate) was_offered: bool,
    /// The step that is shown.
    pub(crate) at: Step,
    /// The furthest that was come to by Enter.
    reached: Step,
}

impl Step {
    /// All, in order.
    pub(crate) const ALL: [Self; 5] =
        [Self::Network, Self::Clock, Self::Disks, Self::Pin, Self::Summary];

    /// Its number, from 1.
    pub(crate) fn number(self) -> usize {
        Self::ALL.iter().position(|step| *step == self).unwrap_or(0) + 1
    }

    /// That of a number, from 1.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Clock => "Clock",
            Self::Disks => "Disks",
            Self::Pin => "PIN",
            Self::Summary => "Summary",
        }
    }
}

impl Steps {
    /// Takes in a status: on a node that nobody has set up they come up once, and on one that is set up
    /// they go.
    pub(crate) fn look(&mut self, status: &NodeStatus) {
        if status.set_up {
            self.is_open = false;
        } else if !self.was_offered && is_new(status) {
            (self.is_open, self.was_offered) = (true, true);
        }
    }

    /// Shows them again where they were left.
    pub(crate) fn open(&mut self) {
        (self.is_open, self.was_offered) = (true, true);
    }

    /// To the next step; false from the last.
    pub(crate) fn forward(&mut self) -> bool {
        let next = Step::ALL.get(self.at.number()).copied();
        if let Some(next) = next {
            self.at = next;
            self.reached = self.reached.max(next);
        }
        next.is_some()
    }

    /// To the step before.
    pub(crate) fn back(&mut self) {
        let before = self.at.number().checked_sub(2).and_then(|at| Step::ALL.get(at));
        self.at = before.copied().unwrap_or(self.at);
    }

    /// Whether a step is done: the node shows it, or, of what may be left out, somebody went on from it.
    pub(crate) fn is_done(&self, step: Step, status: &NodeStatus) -> bool {
        match step {
            Step::Network => has_address(status),
            Step::Clock => matches!(status.clock, ClockReading::Synchronised { .. }),
            Step::Disks => status.volumes.iter().any(|used| used.state == VolumeState::Attached),
            Step::Pin => status.console == ConsoleChanges::Pin || self.reached > Step::Pin,
            Step::Summary => status.set_up,
        }
    }
}

/// Whether a node is known to have been set up by nobody. One that starts may have its record still to read:
/// its disks say which node it is first.
fn is_new(status: &NodeStatus) -> bool {
    let Some(report) = status.disks.as_ref().filter(|_| status.system.is_some()) else {
        return false;
    };
    match status.state.word {
        StateWord::Stopping => false,
        StateWord::Starting => !report.disks.is_empty() && report.node_id.is_none(),
        StateWord::Ready | StateWord::Degraded | StateWord::Unavailable => true,
    }
}

/// Whether any port has an address that others can reach.
fn has_address(status: &NodeStatus) -> bool {
    let ports = status.system.iter().flat_map(|system| &system.ports);
    ports.into_iter().any(is_reachable)
}

/// Whether a port has a link and an address that is good beyond it (RFC 3927, RFC 4291 2.5.6).
pub(crate) fn is_reachable(port: &PortStatus) -> bool {
    let is_wide =
        |address: &String| !address.starts_with("169.254.") && !address.starts_with("fe80");
    port.link && port.addresses.iter().any(is_wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn they_come_up_once_on_a_node_that_nobody_has_set_up() {
        let mut steps = Steps::default();
        steps.look(&NodeStatus::default());
        assert!(!steps.is_open, "an agent that has just started knows nothing");
        let mut status = fixtures::normal();
        status.state.word = StateWord::Starting;
        status.set_up = false;
        steps.look(&status);
        assert!(!steps.is_open, "the record is not read yet");
        status.disks.as_mut().expect("a report").node_id = None;
        steps.look(&status);
        assert!(steps.is_open);
        steps.is_open = false;
        steps.look(&status);
        assert!(!steps.is_open, "whoever left them is not asked again");
        steps.open();
        status.set_up = true;
        steps.look(&status);
        assert!(!steps.is_open, "they were finished on another console");
    }

    #[test]
    fn what_the_node_shows_is_done_and_a_pin_may_be_left_out() {
        let mut steps = Steps::default();
        let mut status = fixtures::normal();
        status.set_up = false;
        let done =
            |steps: &Steps, status: &NodeStatus| Step::ALL.map(|step| steps.is_done(step, status));
        assert_eq!(done(&steps, &status), [true, true, true, false, false]);
        for _ in 0..4 {
            assert!(steps.forward());
        }
        assert!(!steps.forward());
        assert_eq!((steps.at, steps.at.number()), (Step::Summary, 5));
        assert!(steps.is_done(Step::Pin, &status));
        steps.back();
        assert_eq!(steps.at, Step::Pin);
        status.volumes.clear();
        status.clock = ClockReading::Unsynchronised;
        for port in &mut status.system.as_mut().expect("known").ports {
            port.addresses = vec!["169.254.3.4/16".to_owned(), "fe80::1/64".to_owned()];
        }
        assert_eq!(done(&steps, &status), [false, false, false, true, false]);
    }
}
