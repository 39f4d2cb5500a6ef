//! What the node earned.

use std::fmt;

use agent_api::settlement::{Amounts, SettlementStatus, Standing};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::families::Families;

/// Smallest units of a token, and wei of an ether.
const WHOLE: f64 = 1e18;

/// What was earned, and how the node stands on chain.
#[derive(Debug)]
pub(super) struct SettlementReadings(pub(super) SettlementStatus);

/// How nodes stand, as in `icn-agent settlement --json`.
const STANDINGS: [(Standing, &str); 9] = [
    (Standing::Unknown, "unknown"),
    (Standing::Registered, "registered"),
    (Standing::Healthy, "healthy"),
    (Standing::Booked, "booked"),
    (Standing::Warned, "warned"),
    (Standing::RewardsHeld, "rewards_held"),
    (Standing::Slashing, "slashing"),
    (Standing::Rejected, "rejected"),
    (Standing::Offboarded, "offboarded"),
];

impl Collector for SettlementReadings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        let SettlementStatus { seen, gas, amounts, alarms, error, .. } = &self.0;
        let Amounts { earned, pending, claimable, paid, forfeited, taken } = amounts;
        let stages = [
            ("earned", earned),
            ("pending", pending),
            ("claimable", claimable),
            ("paid", paid),
            ("forfeited", forfeited),
            ("taken", taken),
        ];
        let known = stages
            .into_iter()
            .filter_map(|(stage, amount)| Some(([("stage", stage)], whole(amount.as_deref()?)?)));
        to.floats("settlement_tokens", "Tokens of the node, by how far they are", None, known)?;
        if let Some(seen) = seen {
            let help = "How the node stands on chain: 1 for what is so";
            let standings = STANDINGS.map(|(standing, name)| {
                ([("standing", name)], u64::from(standing == seen.standing))
            });
            to.gauges("settlement_standing", help, None, standings)?;
            let help = "1 while this node's daemon key is bound on chain, else 0";
            to.gauge("settlement_key_bound", help, u64::from(seen.is_bound))?;
        }
        let balance = gas.as_ref().and_then(|gas| whole(gas.balance_wei.as_deref()?));
        if let Some(balance) = balance {
            let help = "Ether that the node's gas key has";
            to.float("settlement_gas_ether", help, None, balance)?;
        }
        let help = "How long the chain has not been seen; 0 where it was at the last look";
        let unseen = error.as_ref().map_or(0, |error| error.lasts_seconds.max(1));
        let unseen = f64::from(u32::try_from(unseen).unwrap_or(u32::MAX));
        to.float("settlement_unseen", help, Some(&Unit::Seconds), unseen)?;
        let alarms = u64::try_from(alarms.len()).unwrap_or(u64::MAX);
        to.gauge("settlement_alarms", "What somebody has to look at", alarms)
    }
}

/// Smallest units as whole ones; none where it is no number.
fn whole(amount: &str) -> Option<f64> {
    amount.parse::<f64>().ok().map(|amount| amount / WHOLE)
}
