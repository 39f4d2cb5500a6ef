//! What a node earned, as its chain has it. Part of version 1 of the wire form in [`crate::control`].
//!
//! Amounts are decimal texts in the token's smallest unit, of which a token has 10^18; those of gas are in wei.
//! Addresses and hashes are `0x` and hexadecimal digits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most penalties that are shown, the newest first: more than a month of one a day.
pub const PENALTIES_MAX: usize = 32;

/// The most alarms that are shown: each open call has one at most, and few are open.
pub const ALARMS_MAX: usize = 16;

/// The most transactions that are prepared for the HP at once: one for each thing that a node can want.
pub const UNSIGNED_MAX: usize = 4;

/// To [`crate::control::Request::Settlement`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementReport {
    /// How it stands.
    pub status: SettlementStatus,
    /// The daemon key's word on whose it is; none before it is signed, or where the backend takes none.
    pub binding: Option<SignedBinding>,
    /// What the HP has to sign, at most [`UNSIGNED_MAX`].
    pub unsigned: Vec<Unsigned>,
}

/// What a node earned, and how it stands with its chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementStatus {
    /// Why the chain is not looked at yet, in words; none where it is.
    pub awaited: Option<String>,
    /// `reference` or `icn-v5`.
    pub backend: String,
    /// The chain (EIP-155).
    pub chain: u64,
    /// Who is paid.
    pub hp_account: String,
    /// What the node is called on chain; none before that is known.
    pub node: Option<String>,
    /// The node's daemon address.
    pub daemon: Option<String>,
    /// What pays gas; none where the node only watches.
    pub gas: Option<GasStatus>,
    /// What the chain last said; none before it said something.
    pub seen: Option<Seen>,
    /// How far what was earned is.
    pub amounts: Amounts,
    /// Downtime that cost something, the newest era first, at most [`PENALTIES_MAX`].
    pub penalties: Vec<Penalty>,
    /// The newest root with this node that was compared with the chain.
    pub root: Option<RootStatus>,
    /// What was used in the last eras that were counted, and how far pay for it is; the newest first.
    pub eras: Vec<EraUse>,
    /// The claim that is under way or was the last.
    pub claim: Option<ClaimStatus>,
    /// Why nothing is claimed now, in words; none where something is.
    pub waits: Option<String>,
    /// What somebody has to look at, in words; at most [`ALARMS_MAX`].
    pub alarms: Vec<String>,
    /// What could not be found out the last time; none where everything could.
    pub error: Option<Trouble>,
}

/// The key that pays gas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GasStatus {
    /// Its address.
    pub address: String,
    /// What it has, in wei; none before the chain said.
    pub balance_wei: Option<String>,
}

/// What the chain said at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Seconds since.
    pub age_seconds: u64,
    /// How the node stands.
    pub standing: Standing,
    /// Who is paid, by the chain; none where it does not say.
    pub hp_account: Option<String>,
    /// The key that is bound to the node; none for none.
    pub daemon: Option<String>,
    /// Whether that is this node's.
    pub is_bound: bool,
    /// When the node leaves, in seconds since 1970; none if it does not.
    pub exit_at: Option<u64>,
    /// The era; none where the backend does not say.
    pub era: Option<u64>,
    /// Roots that stand; none where the backend has none.
    pub roots: Option<u64>,
}

/// How a node stands on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The contracts do not know it.
    Unknown,
    /// It is registered, and not at work.
    Registered,
    /// It is at work.
    Healthy,
    /// It is at work, and booked.
    Booked,
    /// It was warned.
    Warned,
    /// Its rewards are counted and not paid.
    RewardsHeld,
    /// Penalties are taken from its collateral.
    Slashing,
    /// It was not admitted.
    Rejected,
    /// It is gone.
    Offboarded,
}

/// How far what was earned is. None where it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// All that the newest root has for the node.
    pub earned: Option<String>,
    /// Of that, what is in roots that can still be disputed.
    pub pending: Option<String>,
    /// What can be claimed.
    pub claimable: Option<String>,
    /// What was paid.
    pub paid: Option<String>,
    /// All that the newest root says was forfeited.
    pub forfeited: Option<String>,
    /// What of that was taken from the collateral.
    pub taken: Option<String>,
}

/// An era that cost something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Penalty {
    /// Which.
    pub era: u64,
    /// Checks that oracles made.
    pub issued: u32,
    /// How many of them the node passed.
    pub passed: u32,
    /// What it cost.
    pub amount: String,
}

/// A root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootStatus {
    /// Its number on chain.
    pub number: u64,
    /// The last era in it.
    pub to_era: u64,
    /// Seconds since 1970 at which nobody can cancel it any more.
    pub final_at: u64,
    /// Whether that is so already.
    pub is_final: bool,
    /// The oracle that showed the node's place in it.
    pub oracle: String,
}

/// What was used in eras.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraUse {
    /// The first.
    pub from_era: u64,
    /// The last: another one where the node was away.
    pub to_era: u64,
    /// Bytes times hours.
    pub byte_hours: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Requests.
    pub requests: u64,
    /// How far pay for it is.
    pub stage: PayStage,
}

/// How far pay for an era is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayStage {
    /// It is in no root yet.
    Accrued,
    /// It is in a root that can be disputed.
    Posted,
    /// It is in dispute.
    Disputed,
    /// It can be claimed.
    Claimable,
    /// Rewards of the node are held back.
    Held,
    /// A claim is on its way.
    Sent,
    /// The claim is in a block.
    Mined,
    /// It is paid, for good.
    Paid,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimStatus {
    /// Of which root.
    pub root: u64,
    /// How far it is.
    pub stage: ClaimStage,
    /// The transaction that was signed last.
    pub transaction: Option<String>,
    /// Why it is parked, in words.
    pub parked: Option<String>,
}

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimStage {
    /// Nothing is signed.
    Queued,
    /// It is signed; whether it was sent is not known.
    Unsure,
    /// It waits to be mined.
    Waits,
    /// It is in a block.
    Mined,
    /// It is in a safe block.
    Safe,
    /// It cannot vanish any more.
    Final,
    /// Somebody has to look at it.
    Parked,
}

/// What went wrong, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What, in words.
    pub what: String,
    /// Seconds since.
    pub age_seconds: u64,
    /// Seconds since it has been going wrong.
    pub lasts_seconds: u64,
}

/// What deserves a line on a screen of many things.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementSummary {
    /// Why the chain is not looked at yet, in words.
    pub awaited: Option<String>,
    /// How the node stands; none before the chain said.
    pub standing: Option<Standing>,
    /// How far what was earned is.
    pub amounts: Amounts,
    /// How many alarms there are.
    pub alarms: u64,
    /// What could not be found out the last time.
    pub error: Option<Trouble>,
}

/// The daemon key's word on whose it is, in the very form that oracles keep and the HP's tool reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBinding {
    /// What is signed.
    pub message: Binding,
    /// By the daemon key.
    pub signature: String,
}

/// `DaemonBinding` (EIP-712).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// What the node is called on chain.
    pub node_id: String,
    /// Its HP.
    pub hp_account: String,
    /// Its daemon key.
    pub daemon_address: String,
    /// Zero for none.
    pub attestation_key_hash: String,
    /// Zero for none.
    pub hardware_report_hash: String,
    /// Seconds since 1970 after which it is not taken, hexadecimal.
    pub deadline: String,
}

/// A transaction that only the HP can sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsigned {
    /// Version of this form.
    pub version: u32,
    /// The chain, hexadecimal.
    pub chain_id: String,
    /// Who has to sign.
    pub from: String,
    /// The contract.
    pub to: String,
    /// What is paid with it: nothing.
    pub value: String,
    /// Selector and arguments.
    pub data: String,
    /// What it does, in words.
    pub description: String,
    /// Links that a wallet reads (EIP-681); empty where none can say it.
    pub links: Vec<String>,
}

impl SettlementStatus {
    /// What of it deserves a line.
    #[must_use]
    pub fn summary(&self) -> SettlementSummary {
        SettlementSummary {
            awaited: self.awaited.clone(),
            standing: self.seen.as_ref().map(|seen| seen.standing),
            amounts: self.amounts.clone(),
            alarms: u64::try_from(self.alarms.len()).unwrap_or(u64::MAX),
            error: self.error.clone(),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "not registered",
            Self::Registered => "registered",
            Self::Healthy => "healthy",
            Self::Booked => "booked",
            Self::Warned => "warned",
            Self::RewardsHeld => "rewards held",
            Self::Slashing => "slashing",
            Self::Rejected => "rejected",
            Self::Offboarded => "offboarded",
        })
    }
}

impl fmt::Display for PayStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accrued => "accrued",
            Self::Posted => "posted",
            Self::Disputed => "disputed",
            Self::Claimable => "claimable",
            Self::Held => "held",
            Self::Sent => "sent",
            Self::Mined => "mined",
            Self::Paid => "paid",
        })
    }
}

impl fmt::Display for ClaimStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Queued => "queued",
            Self::Unsure => "signed",
            Self::Waits => "waits to be mined",
            Self::Mined => "mined",
            Self::Safe => "safe",
            Self::Final => "final",
            Self::Parked => "parked",
        })
    }
}

/// An amount of 10^18 smallest units in tokens, exact and as short as it can be; the text itself where it is no number.
#[must_use]
pub fn tokens(amount: &str) -> String {
    /// Digits behind the point.
    const DIGITS: usize = 18;
    if amount.is_empty() || !amount.bytes().all(|digit| digit.is_ascii_digit()) {
        return amount.to_owned();
    }
    let padded = format!("{amount:0>width$}", width = DIGITS + 1);
    let (whole, part) = padded.split_at(padded.len() - DIGITS);
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_exactly() {
        let cases = [
            ("0", "0"),
            ("1", "0.000000000000000001"),
            ("2500000000000000000", "2.5"),
            ("1000000000000000000000", "1000"),
            ("", ""),
            ("0x1", "0x1"),
        ];
        for (amount, shown) in cases {
            assert_eq!(tokens(amount), shown);
        }
    }

    #[test]
    fn a_report_without_what_is_not_known_keeps_its_form() {
        let report = SettlementReport {
            status: SettlementStatus::default(),
            binding: None,
            unsigned: Vec::new(),
        };
        let text = serde_json::to_string(&report).expect("JSON");
        assert_eq!(serde_json::from_str::<SettlementReport>(&text).expect("a report"), report);
        assert_eq!(report.status.summary(), SettlementSummary::default());
    }
}
