//! A binding that a node's daemon key signed, before the HP makes anything of it.

use agent_settlement::abi::messages::domain;
use agent_settlement::backend::SignedBinding;
use agent_sla::protocol::settled;
use agent_sla::protocol::signed::SignatureError;
use alloy::primitives::{Address, B256};

use crate::units::moment;

/// So long, in seconds, a binding must last at least: until it is signed, sent and mined.
const LASTS_MIN_S: u64 = 600;

/// The longest file in bytes; a binding has some 700.
pub(crate) const FILE_MAX: u64 = 16 << 10;

/// What a binding is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The chain (EIP-155).
    pub chain: u64,
    /// `SlaSettlement`, whose domain everything is signed in.
    pub settlement: Address,
    /// The HP account.
    pub hp: Address,
    /// The node, where it was named.
    pub node: Option<B256>,
    /// The daemon key, where it was named.
    pub daemon: Option<Address>,
    /// Seconds since 1970.
    pub now_s: u64,
}

/// Why a binding is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BindingError {
    /// It is of another form.
    #[error("the binding is malformed: {0}")]
    Form(String),
    /// Another signed it, or it is of another network.
    #[error(
        "the binding is not signed by its daemon key {daemon} for chain {chain} and settlement {settlement}: {why}"
    )]
    Signature { daemon: Address, chain: u64, settlement: Address, why: SignatureError },
    /// It is too late, or soon will be.
    #[error(
        "the binding expires at {}: it must last {LASTS_MIN_S} s more; have the node make another one", moment(*.0)
    )]
    Expires(u64),
    /// It names another HP.
    #[error(
        "the binding is of HP account {found}, and you are {expected}: correct the node's configuration"
    )]
    Hp { expected: Address, found: Address },
    /// It is of another node.
    #[error("the binding is of node {found}, not of {expected}: take that node's binding")]
    Node { expected: B256, found: B256 },
    /// It is of another key.
    #[error("the binding is of daemon key {found}, not of {expected}")]
    Daemon { expected: Address, found: Address },
    /// It binds nothing.
    #[error("the binding names the daemon key zero")]
    Nobody,
}

/// Reads a binding as the node shows it.
pub(crate) fn parse(text: &str) -> Result<settled::SignedBinding, BindingError> {
    serde_json::from_str(text).map_err(|error| BindingError::Form(error.to_string()))
}

/// That a binding is what it should be.
pub(crate) fn check(
    signed: &settled::SignedBinding,
    expected: &Expected,
) -> Result<SignedBinding, BindingError> {
    let Expected { chain, settlement, hp, node, daemon, now_s } = *expected;
    let binding = &signed.message;
    let key = binding.daemonAddress;
    if key == Address::ZERO {
        return Err(BindingError::Nobody);
    }
    if let Some(expected) = daemon.filter(|expected| *expected != key) {
        return Err(BindingError::Daemon { expected, found: key });
    }
    let verified = signed.verify(&domain(chain, settlement), key);
    verified.map_err(|why| BindingError::Signature { daemon: key, chain, settlement, why })?;
    if binding.hpAccount != hp {
        return Err(BindingError::Hp { expected: hp, found: binding.hpAccount });
    }
    if let Some(expected) = node.filter(|expected| *expected != binding.nodeId) {
        return Err(BindingError::Node { expected, found: binding.nodeId });
    }
    let deadline = u64::try_from(binding.deadline).unwrap_or(u64::MAX);
    if deadline < now_s.saturating_add(LASTS_MIN_S) {
        return Err(BindingError::Expires(deadline));
    }
    Ok(SignedBinding {
        binding: binding.clone(),
        daemon: signed.signature.0.to_vec().into(),
        hp: None,
    })
}

#[cfg(test)]
mod tests {
    use agent_sla::protocol::key::SigningKey;
    use agent_sla::protocol::signed::Signed;
    use alloy::primitives::U256;
    use zeroize::Zeroizing;

    use super::*;

    const HP: Address = Address::repeat_byte(0x48);
    const SETTLEMENT: Address = Address::repeat_byte(6);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&Zeroizing::new([7; 32])).unwrap()
    }

    fn expected() -> Expected {
        Expected { chain: 5, settlement: SETTLEMENT, hp: HP, node: None, daemon: None, now_s: 1000 }
    }

    fn signed() -> settled::SignedBinding {
        let message = settled::DaemonBinding {
            nodeId: B256::repeat_byte(1),
            hpAccount: HP,
            daemonAddress: key().address(),
            attestationKeyHash: B256::ZERO,
            hardwareReportHash: B256::ZERO,
            deadline: U256::from(1600),
        };
        Signed::new(message, &domain(5, SETTLEMENT), &key()).unwrap()
    }

    #[test]
    fn a_good_binding_is_taken_as_the_node_writes_it() {
        let text = serde_json::to_string(&signed()).unwrap();
        let taken = check(&parse(&text).unwrap(), &expected()).unwrap();
        assert_eq!(taken.binding.daemonAddress, key().address());
        assert_eq!((taken.daemon.len(), taken.hp), (65, None));
        assert!(matches!(parse("{}"), Err(BindingError::Form(_))));
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        let node = Some(B256::repeat_byte(2));
        let daemon = Some(HP);
        let cases = [
            (Expected { chain: 6, ..expected() }, "is not signed by its daemon key"),
            (Expected { settlement: HP, ..expected() }, "is not signed by its daemon key"),
            (Expected { hp: SETTLEMENT, ..expected() }, "is of HP account"),
            (Expected { node, ..expected() }, "is of node"),
            (Expected { daemon, ..expected() }, "is of daemon key"),
            (Expected { now_s: 1001, ..expected() }, "expires at 1970-01-01T00:26:40Z"),
        ];
        for (expected, words) in cases {
            let error = check(&signed(), &expected).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let mut other = signed();
        other.message.nodeId = B256::repeat_byte(2);
        assert!(matches!(check(&other, &expected()), Err(BindingError::Signature { .. })));
        other.message.daemonAddress = Address::ZERO;
        assert_eq!(check(&other, &expected()), Err(BindingError::Nobody));
    }
}
