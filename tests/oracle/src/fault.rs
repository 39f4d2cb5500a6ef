//! What an oracle does wrong on purpose, for tests of nodes.

use agent_sla::protocol::B256;
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::messages::Receipt;
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::signed::{ChallengeReceipt, Signed};
use zeroize::Zeroizing;

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Receipts are signed with another key.
    WrongSignature,
    /// Receipts are for a request of another node.
    OtherNode,
    /// Receipts are those of a challenge before.
    OldReceipt,
    /// Every request that changes something is dealt with twice, as if the network had doubled it; the
    /// second answer is given.
    Twice,
}

impl Fault {
    /// What is given away instead of a receipt. `old` is one of an era before.
    #[must_use]
    pub fn instead(
        self,
        receipt: Receipt,
        old: Option<Receipt>,
        parameters: &Parameters,
        key: &SigningKey,
    ) -> Receipt {
        let sealed = |message: ChallengeReceipt, key: &SigningKey| {
            Signed::new(message, &parameters.domain(), key).ok()
        };
        let message = receipt.receipt.message.clone();
        let other = match self {
            Self::None | Self::Twice => None,
            Self::WrongSignature => {
                let key = SigningKey::from_bytes(&Zeroizing::new([0x0b; 32])).ok();
                key.and_then(|key| sealed(message, &key))
            }
            Self::OtherNode => {
                let other = B256::repeat_byte(0x0b);
                sealed(ChallengeReceipt { requestHash: other, ..message }, key)
            }
            Self::OldReceipt => return old.unwrap_or(receipt),
        };
        match other {
            Some(signed) => Receipt { receipt: signed, ..receipt },
            None => receipt,
        }
    }
}
