//! What the chain says of the node: how it stands there, and what it was paid.

use std::time::Duration;

use agent_api::settlement::{Amounts, SettlementReport, SettlementSummary, Standing, Trouble};
use agent_api::status::NodeStatus;
use ratatui::text::Line;

use super::Tone;
use super::labels::Lines;
use crate::text::duration;

/// Decimal places of the smallest unit of the token (ERC-20, `decimals`: 18 with ICN's).
const PLACES: usize = 18;

/// Decimal places that are shown: less is no money.
const PLACES_SHOWN: usize = 4;

/// Adds what was earned and paid.
pub(super) fn line(lines: &mut Lines, status: &NodeStatus) {
    let Some(summary) = &status.settlement else {
        return lines.add("Rewards", Tone::Faint, "not known: no [settlement] in node.toml");
    };
    if let Some(why) = &summary.awaited {
        return lines.add("Rewards", Tone::Warning, why);
    }
    lines.add("Rewards", Tone::Plain, &amounts(&summary.amounts));
    match summary.alarms {
        0 => {}
        1 => lines.add("", Tone::Warning, "1 alarm: see the problems"),
        more => lines.add("", Tone::Warning, &format!("{more} alarms: see the problems")),
    }
    if let Some(error) = &summary.error {
        lines.add("", Tone::Warning, &trouble(error));
    }
}

/// How the node stands on chain.
pub(super) fn registration(status: &NodeStatus) -> (Tone, String) {
    match &status.settlement {
        None => (Tone::Faint, "not known: no [settlement]".to_owned()),
        Some(SettlementSummary { awaited: Some(why), .. }) => (Tone::Warning, why.clone()),
        Some(SettlementSummary { standing: Some(standing), .. }) => {
            (tone(*standing), standing.to_string())
        }
        Some(_) => (Tone::Warning, "not known yet".to_owned()),
    }
}

/// Everything that is known of it.
pub(crate) fn report(report: &SettlementReport, width: usize) -> Vec<Line<'static>> {
    let status = &report.status;
    let mut lines = Lines::new(width);
    lines.add("Chain", Tone::Plain, &format!("{}, by {}", status.chain, status.backend));
    lines.add("HP", Tone::Plain, &status.hp_account);
    if let Some(node) = &status.node {
        lines.add("Node", Tone::Plain, node);
    }
    if let Some(why) = &status.awaited {
        lines.add("Awaits", Tone::Warning, why);
    }
    if let Some(seen) = &status.seen {
        let age = duration(Duration::from_secs(seen.age_seconds));
        let bound =
            if seen.is_bound { "bound to this node" } else { "not bound to this node's key" };
        let text = format!("{}, {bound}, seen {age} ago", seen.standing);
        lines.add("Standing", tone(seen.standing), &text);
    }
    lines.add("Rewards", Tone::Plain, &amounts(&status.amounts));
    if let Some(why) = &status.waits {
        lines.add("Waits", Tone::Plain, why);
    }
    if let Some(gas) = &status.gas {
        let balance = gas.balance_wei.as_deref().map_or_else(|| "unknown".to_owned(), tokens);
        lines.add("Gas", Tone::Plain, &format!("{balance} at {}", gas.address));
    }
    for alarm in &status.alarms {
        lines.add("Alarm", Tone::Bad, alarm);
    }
    if let Some(error) = &status.error {
        lines.add("Trouble", Tone::Warning, &trouble(error));
    }
    for unsigned in &report.unsigned {
        lines.add("To sign", Tone::Warning, &unsigned.description);
        for link in &unsigned.links {
            lines.add("", Tone::Plain, link);
        }
    }
    lines.finish()
}

fn trouble(Trouble { what, age_seconds, .. }: &Trouble) -> String {
    format!("{what}, {} ago", duration(Duration::from_secs(*age_seconds)))
}

fn tone(standing: Standing) -> Tone {
    match standing {
        Standing::Healthy | Standing::Booked => Tone::Good,
        Standing::Unknown | Standing::Registered | Standing::Warned | Standing::RewardsHeld => {
            Tone::Warning
        }
        Standing::Slashing | Standing::Rejected | Standing::Offboarded => Tone::Bad,
    }
}

/// What is known of the amounts; what was lost only where something was.
fn amounts(amounts: &Amounts) -> String {
    let of = |amount: &Option<String>, word: &str| {
        amount.as_deref().map(|amount| format!("{} {word}", tokens(amount)))
    };
    let lost = |amount: &Option<String>, word: &str| {
        of(&amount.clone().filter(|amount| amount.bytes().any(|digit| digit != b'0')), word)
    };
    let known = [
        of(&amounts.earned, "earned"),
        of(&amounts.pending, "pending"),
        of(&amounts.claimable, "claimable"),
        of(&amounts.paid, "paid"),
        lost(&amounts.forfeited, "forfeited"),
        lost(&amounts.taken, "taken from the collateral"),
    ];
    let known: Vec<_> = known.into_iter().flatten().collect();
    if known.is_empty() { "not known yet".to_owned() } else { known.join(", ") }
}

/// An amount in the smallest unit as one in tokens, rounded down; what is no number as it is.
fn tokens(smallest: &str) -> String {
    if smallest.is_empty() || !smallest.bytes().all(|digit| digit.is_ascii_digit()) {
        return smallest.to_owned();
    }
    let padded = format!("{smallest:0>width$}", width = PLACES + 1);
    let (whole, places) = padded.split_at(padded.len() - PLACES);
    let places = places.get(..PLACES_SHOWN).unwrap_or_default().trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if places.is_empty() { whole.to_owned() } else { format!("{whole}.{places}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn amounts_are_told_in_tokens_and_never_more_than_there_is() {
        for (smallest, expected) in [
            ("0", "0"),
            ("1", "0"),
            ("99999999999999", "0"),
            ("100000000000000", "0.0001"),
            ("1500000000000000000", "1.5"),
            ("1999999999999999999", "1.9999"),
            ("120000000000000000000", "120"),
            ("?", "?"),
            ("", ""),
        ] {
            assert_eq!(tokens(smallest), expected, "{smallest}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_told_as_nothing() {
        assert_eq!(amounts(&Amounts::default()), "not known yet");
        let zero = || Some("0".to_owned());
        let known = Amounts { paid: zero(), taken: zero(), ..Amounts::default() };
        assert_eq!(amounts(&known), "0 paid");
        let taken = Amounts { taken: Some("5".repeat(19)), ..Amounts::default() };
        assert_eq!(amounts(&taken), "5.5555 taken from the collateral");
    }

    #[test]
    fn a_node_s_standing_is_told_or_why_it_is_not_known() {
        let mut status = fixtures::normal();
        assert_eq!(registration(&status), (Tone::Good, "healthy".to_owned()));
        if let Some(summary) = &mut status.settlement {
            summary.standing = None;
        }
        assert_eq!(registration(&status).1, "not known yet");
        status.settlement = None;
        assert_eq!(registration(&status).1, "not known: no [settlement]");
    }
}
