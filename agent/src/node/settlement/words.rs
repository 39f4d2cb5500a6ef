//! How it stands, as the control socket tells it.

use agent_api::settlement as api;
use agent_settlement::backend::{NodeStatus, Standing, UnsignedForm};
use agent_settlement::claim::ClaimStage;
use agent_settlement::engine::state::{Entry, Stage};
use agent_settlement::usage::UsageRecord;
use agent_sla::protocol::Address;
use agent_sla::protocol::settled::SignedBinding;
use alloy::primitives::U256;

use super::book::{Book, Claimed, Penalty};
use super::plan::Chain;

/// The most eras that are shown: a day of eras of an hour.
const ERAS_SHOWN: usize = 24;

/// The longest words about one thing, in characters.
const WORDS_MAX: usize = 500;

/// Cuts words, and takes out what would move a cursor: some come from servers and oracles.
pub(super) fn short(words: &str) -> String {
    words.chars().filter(|char| !char.is_control()).take(WORDS_MAX).collect()
}

/// The binding in the form that oracles and the HP's tool read.
pub(super) fn binding(signed: &SignedBinding) -> api::SignedBinding {
    let message = &signed.message;
    api::SignedBinding {
        message: api::Binding {
            node_id: message.nodeId.to_string(),
            hp_account: message.hpAccount.to_string(),
            daemon_address: message.daemonAddress.to_string(),
            attestation_key_hash: message.attestationKeyHash.to_string(),
            hardware_report_hash: message.hardwareReportHash.to_string(),
            deadline: format!("{:#x}", message.deadline),
        },
        signature: format!("{:?}", signed.signature),
    }
}

/// A transaction for the HP's wallet.
pub(super) fn unsigned(form: UnsignedForm) -> api::Unsigned {
    api::Unsigned {
        version: form.version,
        chain_id: form.chain_id,
        from: form.from.to_string(),
        to: form.to.to_string(),
        value: form.value.to_owned(),
        data: form.data.to_string(),
        description: form.description,
        links: form.links,
    }
}

pub(super) fn standing(standing: Standing) -> api::Standing {
    match standing {
        Standing::Unknown => api::Standing::Unknown,
        Standing::Registered => api::Standing::Registered,
        Standing::Healthy => api::Standing::Healthy,
        Standing::Booked => api::Standing::Booked,
        Standing::Warned => api::Standing::Warned,
        Standing::RewardsHeld => api::Standing::RewardsHeld,
        Standing::Slashing => api::Standing::Slashing,
        Standing::Rejected => api::Standing::Rejected,
        Standing::Offboarded => api::Standing::Offboarded,
    }
}

/// What the chain said, just now.
pub(super) fn seen(status: &NodeStatus, chain: Option<&Chain>, daemon: Address) -> api::Seen {
    api::Seen {
        age_seconds: 0,
        standing: standing(status.standing),
        hp_account: status.hp.map(|hp| hp.to_string()),
        daemon: status.daemon.map(|bound| bound.to_string()),
        is_bound: status.daemon == Some(daemon),
        exit_at: status.exit_at,
        era: chain.map(|chain| chain.eras.current),
        roots: chain.map(|chain| chain.roots.count),
    }
}

/// How far what was earned is.
pub(super) fn amounts(book: &Book, chain: &Chain) -> api::Amounts {
    let amounts = super::plan::amounts(book, chain);
    let text = |amount: Option<U256>| amount.map(|amount| amount.to_string());
    api::Amounts {
        earned: text(amounts.earned),
        pending: text(amounts.pending),
        claimable: text(amounts.claimable),
        paid: Some(chain.done.reward.to_string()),
        forfeited: text(amounts.forfeited),
        taken: Some(chain.done.penalty.to_string()),
    }
}

pub(super) fn penalties(penalties: &[Penalty]) -> Vec<api::Penalty> {
    let shown = |penalty: &Penalty| api::Penalty {
        era: penalty.era,
        issued: penalty.issued,
        passed: penalty.passed,
        amount: penalty.amount.to_string(),
    };
    penalties.iter().map(shown).collect()
}

/// The newest root with the node.
pub(super) fn root(book: &Book, chain: &Chain) -> Option<api::RootStatus> {
    let place = book.roots.last()?;
    Some(api::RootStatus {
        number: place.number,
        to_era: place.to_era(),
        final_at: place.posted_at.saturating_add(chain.roots.window_s),
        is_final: place.number < chain.roots.finals,
        oracle: place.oracle.clone(),
    })
}

/// What was used, the newest first.
pub(super) fn eras(stages: &[(&UsageRecord, ClaimStage)]) -> Vec<api::EraUse> {
    let shown = |(record, stage): &(&UsageRecord, ClaimStage)| api::EraUse {
        from_era: record.from_era,
        to_era: record.to_era,
        byte_hours: u64::try_from(record.total.byte_hours()).unwrap_or(u64::MAX),
        bytes_in: record.total.bytes_in,
        bytes_out: record.total.bytes_out,
        requests: record.total.requests,
        stage: match stage {
            ClaimStage::Accrued => api::PayStage::Accrued,
            ClaimStage::RootPosted(_) => api::PayStage::Posted,
            ClaimStage::Disputed(_) => api::PayStage::Disputed,
            ClaimStage::Claimable(_) => api::PayStage::Claimable,
            ClaimStage::Held(_) => api::PayStage::Held,
            ClaimStage::Sent(..) => api::PayStage::Sent,
            ClaimStage::Mined(..) => api::PayStage::Mined,
            ClaimStage::Final(_) => api::PayStage::Paid,
        },
    };
    stages.iter().rev().take(ERAS_SHOWN).map(shown).collect()
}

/// The last claim, and what the engine knows of it.
pub(super) fn claim(last: &Claimed, entry: Option<&Entry>) -> api::ClaimStatus {
    let mut parked = None;
    let stage = match entry.map(|entry| &entry.stage) {
        None if last.is_final => api::ClaimStage::Final,
        // It was handed over to an outbox that is not there any more.
        None => api::ClaimStage::Unsure,
        Some(Stage::Queued) => api::ClaimStage::Queued,
        Some(Stage::Unsure) => api::ClaimStage::Unsure,
        Some(Stage::Waits) => api::ClaimStage::Waits,
        Some(Stage::Mined(_)) => api::ClaimStage::Mined,
        Some(Stage::Safe(_)) => api::ClaimStage::Safe,
        Some(Stage::Parked(reason)) => {
            parked = Some(short(&reason.to_string()));
            api::ClaimStage::Parked
        }
    };
    let signed = entry.and_then(|entry| entry.attempts.last()).map(|signed| signed.hash);
    let transaction = signed.or(last.transaction).map(|hash| hash.to_string());
    api::ClaimStatus { root: last.root, stage, transaction, parked }
}

#[cfg(test)]
mod tests {
    use agent_settlement::abi::messages::domain;
    use agent_sla::protocol::B256;
    use agent_sla::protocol::key::SigningKey;
    use agent_sla::protocol::settled::DaemonBinding;
    use agent_sla::protocol::signed::Signed;
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_binding_is_shown_in_the_very_form_that_oracles_keep() {
        let key = SigningKey::from_bytes(&Zeroizing::new([7; 32])).expect("a key");
        let message = DaemonBinding {
            nodeId: B256::repeat_byte(0xab),
            hpAccount: Address::repeat_byte(0xcd),
            daemonAddress: key.address(),
            attestationKeyHash: B256::ZERO,
            hardwareReportHash: B256::ZERO,
            deadline: U256::from(1_800_000_000_u64),
        };
        let signed = Signed::new(message, &domain(5, Address::ZERO), &key).expect("signed");
        let shown = serde_json::to_string(&binding(&signed)).expect("JSON");
        let read: SignedBinding = serde_json::from_str(&shown).expect("a binding");
        assert_eq!(read, signed);
        let value: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(value["message"]["deadline"], "0x6b49d200");
    }

    #[test]
    fn words_of_others_are_short_and_move_no_cursor() {
        let long = format!("a\u{1b}[2J{}", "b".repeat(1000));
        let text = short(&long);
        assert_eq!(text.chars().count(), WORDS_MAX);
        assert!(text.starts_with("a[2J"));
    }
}
