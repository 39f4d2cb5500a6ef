//! The daemon key's word on whose it is: what the HP needs to bind it.

use std::time::Duration;

use agent_sla::protocol::key::{CannotSign, SigningKey};
use agent_sla::protocol::settled::{DaemonBinding, SignedBinding};
use agent_sla::protocol::signed::Signed;
use agent_sla::protocol::{Address, B256};
use alloy::primitives::U256;
use alloy::sol_types::Eip712Domain;
use tokio::sync::watch;
use tracing::{error, info};

use crate::node::since_1970;

/// For how long a binding is taken, in seconds: an HP with a multisig needs days, and one that was forgotten must not
/// bind a key for ever.
const LASTS_S: u64 = 30 * 86_400;

/// How often it is looked whether it is to be made anew: a clock that was wrong at the start is right by then.
const LOOK: Duration = Duration::from_secs(60);

/// What is signed, and by which domain.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// What the node is called on chain.
    pub(super) node: B256,
    /// Its HP.
    pub(super) hp: Address,
    /// Chain and contract.
    pub(super) domain: Eip712Domain,
}

/// Whether a binding is to be made: where there is none, or less than half of its time is left, or more than all of it,
/// as the clock was wrong.
fn is_due(held: Option<&SignedBinding>, now_s: u64) -> bool {
    let Some(held) = held else { return true };
    let deadline = u64::try_from(held.message.deadline).unwrap_or(u64::MAX);
    let left = deadline.saturating_sub(now_s);
    !(LASTS_S / 2..=LASTS_S).contains(&left)
}

fn make(key: &SigningKey, terms: &Terms, now_s: u64) -> Result<SignedBinding, CannotSign> {
    let message = DaemonBinding {
        nodeId: terms.node,
        hpAccount: terms.hp,
        daemonAddress: key.address(),
        // Nothing attests the machine in this version.
        attestationKeyHash: B256::ZERO,
        hardwareReportHash: B256::ZERO,
        deadline: U256::from(now_s.saturating_add(LASTS_S)),
    };
    Signed::new(message, &terms.domain, key)
}

/// Keeps a binding that can be used, for ever.
pub(super) async fn keep(
    key: SigningKey,
    terms: Terms,
    binding: watch::Sender<Option<SignedBinding>>,
) {
    loop {
        let now_s = since_1970().as_secs();
        let due = is_due(binding.borrow().as_ref(), now_s);
        if due {
            match make(&key, &terms, now_s) {
                Ok(made) => {
                    info!(node = %terms.node, hp = %terms.hp, daemon = %key.address(), "signed a binding");
                    binding.send_replace(Some(made));
                }
                Err(error) => error!(%error, "cannot sign a binding"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use agent_settlement::abi::messages::domain;
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_binding_is_the_daemon_s_and_made_anew_when_half_of_its_time_is_over() {
        let key = SigningKey::from_bytes(&Zeroizing::new([7; 32])).expect("a key");
        let domain = domain(5, Address::repeat_byte(9));
        let terms = Terms {
            node: B256::repeat_byte(1),
            hp: Address::repeat_byte(2),
            domain: domain.clone(),
        };
        let made = make(&key, &terms, 1_000_000).expect("signed");
        assert_eq!(made.verify(&domain, key.address()), Ok(()));
        assert_eq!(made.message.deadline, U256::from(1_000_000 + LASTS_S));
        assert!(is_due(None, 0));
        let due = |now_s| is_due(Some(&made), now_s);
        assert!(!due(1_000_000) && !due(1_000_000 + LASTS_S / 2));
        assert!(due(1_000_001 + LASTS_S / 2) && due(2_000_000 + LASTS_S));
        assert!(due(999_999), "it was made by a clock that was ahead");
    }
}
