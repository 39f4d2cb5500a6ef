//! Transactions for an HP's wallet: as JSON, and as links (EIP-681) that a wallet reads from a code on a screen.

use alloy::primitives::{Address, Bytes};
use serde::Serialize;

/// A transaction that the node does not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// The chain (EIP-155).
    pub chain: u64,
    /// Who has to sign.
    pub from: Address,
    /// The contract.
    pub to: Address,
    /// Selector and arguments.
    pub data: Bytes,
    /// What it does, in words.
    pub what: String,
    /// Function and arguments for links: one link does all, or each its part. Empty where links cannot say it.
    pub links: Vec<Link>,
}

/// A call that EIP-681 can say: of arguments that are numbers, addresses and fixed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The function's name.
    pub function: &'static str,
    /// Types and values.
    pub arguments: Vec<(&'static str, String)>,
}

/// The form that wallets and tools read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsignedForm {
    /// Version of this form.
    pub version: u32,
    /// The chain, `0x` and hexadecimal.
    pub chain_id: String,
    /// Who has to sign.
    pub from: Address,
    /// The contract.
    pub to: Address,
    /// Nothing is paid with it.
    pub value: &'static str,
    /// Selector and arguments.
    pub data: Bytes,
    /// What it does, in words.
    pub description: String,
    /// Links (EIP-681).
    pub links: Vec<String>,
}

impl Unsigned {
    /// The form that wallets and tools read, as JSON.
    #[must_use]
    pub fn form(&self) -> UnsignedForm {
        UnsignedForm {
            version: 1,
            chain_id: format!("{:#x}", self.chain),
            from: self.from,
            to: self.to,
            value: "0x0",
            data: self.data.clone(),
            description: self.what.clone(),
            links: self.links(),
        }
    }

    /// Its links (EIP-681).
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let link = |link: &Link| {
            let arguments: Vec<_> =
                link.arguments.iter().map(|(kind, value)| format!("{kind}={value}")).collect();
            let (to, chain, function) = (self.to, self.chain, link.function);
            format!("ethereum:{to}@{chain}/{function}?{}", arguments.join("&"))
        };
        self.links.iter().map(link).collect()
    }
}
