//! What of it deserves attention on the console.

use agent_api::settlement::{SettlementStatus, Standing};
use agent_api::status::Severity;

/// How long a chain that cannot be seen is no problem, in seconds: servers are restarted, and nothing is lost meanwhile.
const UNSEEN_S: u64 = 600;

/// Problems, each with what to do.
pub(in crate::node) fn problems(status: &SettlementStatus) -> Vec<(Severity, String)> {
    let mut found = Vec::new();
    let mut add = |severity, text: String| found.push((severity, text));
    if let Some(why) = &status.awaited {
        add(Severity::Warning, why.clone());
    }
    if let Some(trouble) = status.error.as_ref().filter(|trouble| trouble.lasts_seconds >= UNSEEN_S)
    {
        let minutes = trouble.lasts_seconds / 60;
        let text = format!("the chain has not been seen for {minutes} min: {}", trouble.what);
        add(Severity::Warning, text);
    }
    for alarm in &status.alarms {
        add(Severity::Warning, alarm.clone());
    }
    let Some(seen) = &status.seen else { return found };
    let (severity, text) = match seen.standing {
        Standing::Healthy | Standing::Booked | Standing::Registered => (Severity::Warning, ""),
        Standing::Unknown => (
            Severity::Warning,
            "the node is not registered on chain: its HP does that, with icn-settle",
        ),
        Standing::Warned => {
            (Severity::Warning, "oracles warned the node: see its penalties and links")
        }
        Standing::RewardsHeld => (
            Severity::Error,
            "rewards are held back: see penalties; they are paid once it is healthy again",
        ),
        Standing::Slashing => {
            (Severity::Error, "penalties are taken from the collateral: tell the HP, see penalties")
        }
        Standing::Rejected => (Severity::Warning, "the network did not admit the node: ask its HP"),
        Standing::Offboarded => {
            (Severity::Warning, "the node left the network: it earns nothing any more")
        }
    };
    if !text.is_empty() {
        add(severity, text.to_owned());
    }
    if seen.standing != Standing::Unknown && !seen.is_bound {
        let text = match &seen.daemon {
            None => "no daemon key is bound to the node yet: its HP binds it, and two eras later it is in force".to_owned(),
            Some(other) => format!("the daemon key {other} is bound, not this node's: its HP binds this one"),
        };
        add(Severity::Warning, text);
    }
    found
}

#[cfg(test)]
mod tests {
    use agent_api::settlement::{Seen, Trouble};

    use super::*;

    fn seen(standing: Standing, daemon: Option<&str>, is_bound: bool) -> SettlementStatus {
        let seen = Seen {
            age_seconds: 0,
            standing,
            hp_account: None,
            daemon: daemon.map(str::to_owned),
            is_bound,
            exit_at: None,
            era: None,
            roots: None,
        };
        SettlementStatus { seen: Some(seen), ..SettlementStatus::default() }
    }

    fn texts(status: &SettlementStatus) -> String {
        problems(status).into_iter().map(|(_, text)| text + "\n").collect()
    }

    #[test]
    fn a_node_that_does_well_has_no_problem() {
        assert_eq!(problems(&seen(Standing::Healthy, Some("0x1"), true)), []);
        assert_eq!(problems(&SettlementStatus::default()), []);
    }

    #[test]
    fn each_standing_that_costs_something_is_told() {
        for standing in [Standing::RewardsHeld, Standing::Slashing] {
            let found = problems(&seen(standing, Some("0x1"), true));
            assert!(found.iter().any(|(severity, _)| *severity == Severity::Error), "{standing}");
        }
        assert!(texts(&seen(Standing::Unknown, None, false)).contains("not registered"));
        assert!(texts(&seen(Standing::Healthy, None, false)).contains("no daemon key"));
        assert!(texts(&seen(Standing::Healthy, Some("0x2"), false)).contains("0x2"));
    }

    #[test]
    fn a_chain_that_is_away_for_a_moment_is_no_problem() {
        let away = |lasts_seconds| SettlementStatus {
            error: Some(Trouble { what: "down".to_owned(), age_seconds: 1, lasts_seconds }),
            ..SettlementStatus::default()
        };
        assert_eq!(problems(&away(599)), []);
        assert!(texts(&away(600)).contains("10 min: down"));
    }
}
