//! The PIN of the console: how often it may be tried. Pure but for the check itself, which is slow.

use std::time::Duration;

use agent_api::control::{Reply, Secret};
use agent_api::status::ConsoleChanges;
use provisioning_config::Changes;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use super::control::refused;

/// Why nothing is changed before the node's record was read.
pub(super) const UNKNOWN: &str = "whether a PIN was set is not known before the node's disks are read: wait a minute, and look \
                                  at the problems on Status if it lasts";

/// Wrong PINs that cost no time: fingers slip.
const FREE: u32 = 3;

/// The wait after the last of these; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// The longest wait: four digits take some hundred days then.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What is known of a PIN in the node's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeptPin {
    /// There may be one: the record was not read yet.
    Unknown,
    /// There is none.
    Nothing,
    /// Its hash.
    Hash(String),
}

/// Who may change something on a console.
#[derive(Debug)]
pub(crate) struct Guard {
    changes: Changes,
    started: Instant,
    tries: Mutex<Tries>,
}

impl Guard {
    /// As the configuration has it.
    pub(crate) fn new(changes: Changes) -> Self {
        Self { changes, started: Instant::now(), tries: Mutex::default() }
    }

    /// Who may change something where this is known of the record's PIN: a PIN of node.toml counts before it, and so does a
    /// mistake there. A hash that nobody understands opens nothing, and neither does a record that nobody has read.
    fn changes(&self, kept: &KeptPin) -> Changes {
        match (&self.changes, kept) {
            (Changes::Anybody, KeptPin::Unknown) => Changes::Nobody,
            (Changes::Anybody, KeptPin::Hash(kept)) => {
                kept.parse().map_or(Changes::Nobody, Changes::Pin)
            }
            (changes, _) => changes.clone(),
        }
    }

    /// What the consoles have to know, where this is known of the record's PIN.
    pub(crate) fn told(&self, kept: &KeptPin) -> ConsoleChanges {
        match self.changes(kept) {
            Changes::Anybody => ConsoleChanges::Anybody,
            Changes::Pin(_) => ConsoleChanges::Pin,
            Changes::Nobody => ConsoleChanges::Nobody,
        }
    }

    /// Answers whether this is the PIN. One is checked at a time, so that many at once are no faster.
    pub(crate) async fn check(&self, kept: &KeptPin, pin: Secret) -> Reply {
        let hash = match self.changes(kept) {
            Changes::Pin(hash) => hash,
            Changes::Nobody if *kept == KeptPin::Unknown => return refused(UNKNOWN),
            Changes::Anybody | Changes::Nobody => return refused("the console has no PIN"),
        };
        let mut tries = self.tries.lock().await;
        if let Some(wait) = tries.wait(self.started.elapsed()) {
            return refused(format!("too many wrong PINs: wait {} s", wait.as_secs().max(1)));
        }
        let Ok(is_right) = spawn_blocking(move || hash.accepts(pin.reveal())).await else {
            return refused("the PIN could not be checked; try again");
        };
        tries.take(is_right, self.started.elapsed());
        if is_right {
            info!("the PIN of the console was entered");
            return Reply::Accepted;
        }
        warn!(wrong = tries.wrong, "a wrong PIN was entered on the console");
        refused(match tries.wait(self.started.elapsed()) {
            Some(wait) => format!("that is not the PIN: wait {} s", wait.as_secs().max(1)),
            None => "that is not the PIN".to_owned(),
        })
    }
}

/// Wrong PINs since the last right one. Times are since the agent was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tries {
    wrong: u32,
    /// Before then none is checked.
    not_before: Duration,
}

impl Tries {
    /// How long to wait before the next is checked; none where it may be now.
    fn wait(&self, now: Duration) -> Option<Duration> {
        self.not_before.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// Takes in what came of a check.
    fn take(&mut self, is_right: bool, now: Duration) {
        if is_right {
            *self = Self::default();
            return;
        }
        self.wrong = self.wrong.saturating_add(1);
        if let Some(doublings) = self.wrong.checked_sub(FREE) {
            let wait = FIRST_WAIT.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
            self.not_before = now + wait.min(LONGEST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    /// The waits after so many wrong PINs, one after the other.
    fn waits(count: usize) -> Vec<u64> {
        let mut tries = Tries::default();
        let mut now = NOW;
        let mut wait = || {
            tries.take(false, now);
            let wait = tries.wait(now).unwrap_or_default();
            now += wait;
            assert_eq!(tries.wait(now), None, "after the wait the next may be tried");
            wait.as_secs()
        };
        (0..count).map(|_| wait()).collect()
    }

    #[test]
    fn three_tries_cost_nothing_and_then_the_wait_doubles_up_to_an_hour() {
        assert_eq!(waits(11), [0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(waits(100).last(), Some(&3600));
    }

    #[test]
    fn a_right_pin_forgets_the_wrong_ones() {
        let mut tries = Tries::default();
        for _ in 0..5 {
            tries.take(false, NOW);
        }
        assert!(tries.wait(NOW).is_some());
        tries.take(true, NOW);
        assert_eq!(tries, Tries::default());
    }

    #[test]
    fn without_a_pin_none_is_right() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for (changes, told) in
            [(Changes::Anybody, ConsoleChanges::Anybody), (Changes::Nobody, ConsoleChanges::Nobody)]
        {
            let guard = Guard::new(changes);
            assert_eq!(guard.told(&KeptPin::Nothing), told);
            let reply =
                runtime.block_on(guard.check(&KeptPin::Nothing, Secret::new(String::new())));
            assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
        }
    }

    fn guard_told(changes: Changes, kept: &KeptPin) -> ConsoleChanges {
        Guard::new(changes).told(kept)
    }

    #[test]
    fn a_pin_of_the_record_counts_where_node_toml_has_none() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let hash = |pin: &str| provisioning_config::PinHash::make(pin, [1; 16]).expect("a PIN");
        let kept = KeptPin::Hash(hash("1357").to_string());
        let accepts = |guard: &Guard, pin: &str| {
            let reply = guard.check(&kept, Secret::new(pin.to_owned()));
            runtime.block_on(reply) == Reply::Accepted
        };
        let guard = Guard::new(Changes::Anybody);
        assert_eq!(guard.told(&kept), ConsoleChanges::Pin);
        assert_eq!(guard.told(&KeptPin::Unknown), ConsoleChanges::Nobody);
        let unread = guard.check(&KeptPin::Unknown, Secret::new("1357".to_owned()));
        assert_eq!(runtime.block_on(unread), refused(UNKNOWN));
        assert!(accepts(&guard, "1357") && !accepts(&guard, "2580"));
        let guard = Guard::new(Changes::Pin(hash("2580")));
        assert!(accepts(&guard, "2580") && !accepts(&guard, "1357"));
        assert_eq!(guard_told(Changes::Nobody, &kept), ConsoleChanges::Nobody);
        let in_node_toml = Changes::Pin(hash("2580"));
        assert_eq!(guard_told(in_node_toml, &KeptPin::Unknown), ConsoleChanges::Pin);
        let later = KeptPin::Hash("$argon2id$later".to_owned());
        assert_eq!(guard_told(Changes::Anybody, &later), ConsoleChanges::Nobody);
    }

    #[test]
    fn a_wrong_pin_is_refused_and_after_three_the_right_one_too_for_a_while() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let hash = provisioning_config::PinHash::make("2580", [1; 16]).expect("a PIN");
        let guard = Guard::new(Changes::Pin(hash));
        let check = |pin: &str| {
            runtime.block_on(guard.check(&KeptPin::Nothing, Secret::new(pin.to_owned())))
        };
        assert_eq!(check("2580"), Reply::Accepted);
        for _ in 0..3 {
            assert!(matches!(check("1111"), Reply::Refused { .. }));
        }
        let Reply::Refused { reason } = check("2580") else { panic!("accepted") };
        assert!(reason.starts_with("too many wrong PINs: wait "), "{reason}");
    }
}
