//! Files between a machine with a network and one with the key: what is to be signed, and what is signed.

use std::collections::BTreeSet;

use alloy::consensus::{SignableTransaction, Transaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::{Decodable2718, Encodable2718};
use alloy::primitives::{Address, B256, Bytes, TxKind, U64, U128, U256};
use alloy::signers::SignerSync;
use serde::{Deserialize, Serialize};

use crate::keystore::SecretKey;

/// What the files say that they are.
const UNSIGNED: &str = "icn-settle unsigned transactions";
const SIGNED: &str = "icn-settle signed transactions";

/// Version of both forms.
const VERSION: u32 = 1;

/// The most transactions in a file: as many nodes as one batch of ICN's protocol claims for.
pub(crate) const TRANSACTIONS_MAX: usize = 300;

/// The longest file in bytes: each transaction is at most some 4 KiB, twice in hexadecimal.
pub(crate) const FILE_MAX: u64 = 4 << 20;

/// Transactions that wait for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnsignedFile {
    form: String,
    version: u32,
    pub transactions: Vec<Unsigned>,
}

/// A transaction (EIP-1559) in the words of JSON-RPC, which wallets read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Unsigned {
    pub chain_id: U64,
    pub from: Address,
    pub to: Address,
    pub nonce: U64,
    pub value: U256,
    pub data: Bytes,
    pub gas: U64,
    pub max_fee_per_gas: U128,
    pub max_priority_fee_per_gas: U128,
    /// The unsigned bytes (EIP-2718, type 2), for wallets that read no fields. They say the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Bytes>,
    /// What is signed: Keccak-256 of those bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_hash: Option<B256>,
    /// For people. Whoever signs looks at `data` instead.
    pub description: Vec<String>,
    /// Links (EIP-681); empty where links cannot say it.
    pub links: Vec<String>,
}

/// Transactions that wait to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedFile {
    form: String,
    version: u32,
    pub transactions: Vec<Signed>,
}

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    pub hash: B256,
    pub raw: Bytes,
}

/// A signed transaction, read from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub raw: Bytes,
    pub hash: B256,
    pub chain: u64,
    pub from: Address,
    pub to: Address,
    pub nonce: u64,
    pub data: Bytes,
    /// The most that it can cost, in wei.
    pub most_wei: u128,
}

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    /// It is another kind of file.
    #[error("this is no file of {expected}: {why}")]
    Form { expected: &'static str, why: String },
    /// It was made by a newer program.
    #[error(
        "the file has version {0}, and this program knows {VERSION}: use the program that made it"
    )]
    Version(u32),
    /// It holds too many or no transactions.
    #[error("the file has {0} transactions: 1 to {TRANSACTIONS_MAX} are possible")]
    Count(usize),
    /// Its bytes say something else than its fields.
    #[error(
        "`raw` or `signingHash` of the file are not of its fields: it was changed, prepare it anew"
    )]
    Bytes,
    /// Another was signed than was to be.
    #[error(
        "the transaction that was signed for the nonce {nonce} is another than was to be, in {what}: it is not sent"
    )]
    Differs { nonce: u64, what: &'static str },
    /// There are fewer or more than were to be signed.
    #[error("{found} transaction(s) are signed, and {expected} were to be: it is not sent")]
    Counts { expected: usize, found: usize },
    /// Two have one nonce.
    #[error("two transactions of the file have the nonce {0}: only one could take effect")]
    Twice(u64),
    /// It is of another chain.
    #[error(
        "the transaction is for chain {found}, and the network is on {expected}: use the other description"
    )]
    Chain { expected: u64, found: u64 },
    /// It pays somebody.
    #[error(
        "the transaction sends ETH along, which none of this program does: it is not signed or sent"
    )]
    Value,
    /// The key is another's.
    #[error("the transaction is to be signed by {expected}, and the keystore is of {found}")]
    Account { expected: Address, found: Address },
    /// The tip is more than all.
    #[error("the transaction's tip is above its highest fee: no chain takes it")]
    Tip,
    /// It cannot be signed.
    #[error("the key could not sign")]
    CannotSign,
    /// It is no signed transaction.
    #[error("the bytes are no signed transaction (EIP-1559): {0}")]
    Raw(String),
    /// Its hash is another.
    #[error("the file says that the hash is {said}, and it is {found}: it was changed")]
    Hash { said: B256, found: B256 },
}

impl UnsignedFile {
    pub(crate) fn new(transactions: Vec<Unsigned>) -> Self {
        Self { form: UNSIGNED.to_owned(), version: VERSION, transactions }
    }

    /// Reads a file for a chain.
    pub(crate) fn parse(text: &str, chain: u64) -> Result<Self, FormError> {
        let why = |error: serde_json::Error| form(UNSIGNED, error.to_string());
        let file: Self = serde_json::from_str(text).map_err(why)?;
        check(UNSIGNED, &file.form, file.version, file.transactions.len())?;
        let mut nonces = BTreeSet::new();
        for one in &file.transactions {
            one.check(chain)?;
            if !nonces.insert((one.from, one.nonce)) {
                return Err(FormError::Twice(one.nonce.to()));
            }
        }
        Ok(file)
    }

    /// That signed transactions are these, in their order.
    pub(crate) fn is(&self, signed: &[Known]) -> Result<(), FormError> {
        let (expected, found) = (self.transactions.len(), signed.len());
        if expected != found {
            return Err(FormError::Counts { expected, found });
        }
        self.transactions.iter().zip(signed).try_for_each(|(unsigned, signed)| unsigned.is(signed))
    }
}

impl SignedFile {
    pub(crate) fn new(transactions: Vec<Signed>) -> Self {
        Self { form: SIGNED.to_owned(), version: VERSION, transactions }
    }

    /// Reads a file for a chain; bytes in hexadecimal, as wallets give them, are one transaction.
    pub(crate) fn parse(text: &str, chain: u64) -> Result<Vec<Known>, FormError> {
        if let Ok(raw) = text.trim().parse::<Bytes>() {
            return Ok(vec![Known::read(&raw, chain)?]);
        }
        let why = |error: serde_json::Error| form(SIGNED, error.to_string());
        let file: Self = serde_json::from_str(text).map_err(why)?;
        check(SIGNED, &file.form, file.version, file.transactions.len())?;
        let mut known = Vec::new();
        for one in &file.transactions {
            let read = Known::read(&one.raw, chain)?;
            if read.hash != one.hash {
                return Err(FormError::Hash { said: one.hash, found: read.hash });
            }
            known.push(read);
        }
        Ok(known)
    }
}

impl Unsigned {
    /// The same with its unsigned bytes and what is signed of them.
    pub(crate) fn with_bytes(self) -> Self {
        let transaction = self.transaction();
        let raw = Some(Bytes::from(transaction.encoded_for_signing()));
        Self { raw, signing_hash: Some(transaction.signature_hash()), ..self }
    }

    fn transaction(&self) -> TxEip1559 {
        TxEip1559 {
            chain_id: self.chain_id.to(),
            nonce: self.nonce.to(),
            gas_limit: self.gas.to(),
            max_fee_per_gas: self.max_fee_per_gas.to(),
            max_priority_fee_per_gas: self.max_priority_fee_per_gas.to(),
            to: TxKind::Call(self.to),
            value: self.value,
            access_list: Default::default(),
            input: self.data.clone(),
        }
    }

    /// The most that it can cost, in wei.
    pub(crate) fn most_wei(&self) -> u128 {
        self.max_fee_per_gas.to::<u128>().saturating_mul(self.gas.to::<u128>())
    }

    fn check(&self, chain: u64) -> Result<(), FormError> {
        let found = self.chain_id.to();
        if found != chain {
            return Err(FormError::Chain { expected: chain, found });
        }
        if self.value != U256::ZERO {
            return Err(FormError::Value);
        }
        if self.max_priority_fee_per_gas > self.max_fee_per_gas {
            return Err(FormError::Tip);
        }
        let said = (self.raw.clone(), self.signing_hash);
        let made = self.clone().with_bytes();
        let same = |said: bool| if said { Ok(()) } else { Err(FormError::Bytes) };
        same(said.0.is_none() || said.0 == made.raw)?;
        same(said.1.is_none() || said.1 == made.signing_hash)
    }

    /// That a signed transaction is this one. What it pays for gas is the wallet's to choose.
    fn is(&self, signed: &Known) -> Result<(), FormError> {
        let pairs = [
            ("its signer", signed.from == self.from),
            ("its nonce", signed.nonce == self.nonce.to::<u64>()),
            ("the contract", signed.to == self.to),
            ("its data", signed.data == self.data),
            // Both were compared with the network's, and none sends ETH along.
            ("the chain", signed.chain == self.chain_id.to::<u64>()),
        ];
        match pairs.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((what, _)) => Err(FormError::Differs { nonce: self.nonce.to(), what }),
        }
    }

    /// Signs it.
    pub(crate) fn sign(&self, key: &SecretKey) -> Result<Signed, FormError> {
        let signer = key.signer().map_err(|_| FormError::CannotSign)?;
        let (expected, found) = (self.from, signer.address());
        if found != expected {
            return Err(FormError::Account { expected, found });
        }
        let transaction = self.transaction();
        let signature = signer.sign_hash_sync(&transaction.signature_hash());
        let signature = signature.map_err(|_| FormError::CannotSign)?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(Signed { hash: *envelope.tx_hash(), raw: envelope.encoded_2718().into() })
    }
}

impl Known {
    fn read(raw: &Bytes, chain: u64) -> Result<Self, FormError> {
        let why = |words: &str| FormError::Raw(words.to_owned());
        let envelope =
            TxEnvelope::decode_2718_exact(raw).map_err(|error| why(&error.to_string()))?;
        let TxEnvelope::Eip1559(signed) = &envelope else {
            return Err(why("it is of another type"));
        };
        let from = signed.signature().recover_address_from_prehash(&signed.signature_hash());
        let from = from.map_err(|_| why("its signature is nobody's"))?;
        if signed.signature().normalize_s().is_some() {
            return Err(why(
                "its signature has the higher of both values of s, which no chain takes",
            ));
        }
        let found = signed.tx().chain_id;
        if found != chain {
            return Err(FormError::Chain { expected: chain, found });
        }
        if signed.tx().value != U256::ZERO {
            return Err(FormError::Value);
        }
        let to = signed.tx().to().ok_or_else(|| why("it makes a contract"))?;
        let gas = u128::from(signed.tx().gas_limit);
        Ok(Self {
            raw: raw.clone(),
            hash: *envelope.tx_hash(),
            chain,
            from,
            to,
            nonce: signed.tx().nonce,
            data: signed.tx().input.clone(),
            most_wei: signed.tx().max_fee_per_gas.saturating_mul(gas),
        })
    }
}

fn form(expected: &'static str, why: String) -> FormError {
    FormError::Form { expected, why }
}

fn check(expected: &'static str, found: &str, version: u32, count: usize) -> Result<(), FormError> {
    if found != expected {
        return Err(form(expected, format!("it is one of {found}")));
    }
    if version != VERSION {
        return Err(FormError::Version(version));
    }
    match count {
        1..=TRANSACTIONS_MAX => Ok(()),
        count => Err(FormError::Count(count)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SecretKey {
        SecretKey::parse(&[b'1'; 64]).unwrap()
    }

    fn unsigned() -> Unsigned {
        Unsigned {
            chain_id: U64::from(31_337),
            from: key().address().unwrap(),
            to: Address::repeat_byte(3),
            nonce: U64::from(4),
            value: U256::ZERO,
            data: Bytes::from_static(b"data"),
            gas: U64::from(100_000),
            max_fee_per_gas: U128::from(3_000_000_000_u64),
            max_priority_fee_per_gas: U128::from(1_000_000_000),
            raw: None,
            signing_hash: None,
            description: vec!["anything".to_owned()],
            links: Vec::new(),
        }
    }

    fn written(file: &impl Serialize) -> String {
        serde_json::to_string(file).unwrap()
    }

    #[test]
    fn what_is_signed_is_what_was_to_be_signed() {
        let text = written(&UnsignedFile::new(vec![unsigned()]));
        let file = UnsignedFile::parse(&text, 31_337).unwrap();
        assert_eq!(file.transactions, [unsigned()]);
        let signed = file.transactions[0].sign(&key()).unwrap();
        let text = written(&SignedFile::new(vec![signed.clone()]));
        for text in [text, format!("{}\n", signed.raw)] {
            let known = SignedFile::parse(&text, 31_337).unwrap();
            let [known] = &known[..] else { panic!("{known:?}") };
            assert_eq!((known.from, known.to), (unsigned().from, unsigned().to));
            assert_eq!((known.nonce, &known.data), (4, &unsigned().data));
            assert_eq!((known.hash, known.most_wei), (signed.hash, unsigned().most_wei()));
        }
    }

    #[test]
    fn what_was_changed_or_is_for_another_chain_or_key_is_refused() {
        type Change = fn(&mut Unsigned);
        let cases: [(Change, &str); 4] = [
            (|one| one.chain_id = U64::from(1), "for chain 1"),
            (|one| one.value = U256::from(1), "sends ETH"),
            (|one| one.max_priority_fee_per_gas = U128::MAX, "tip"),
            (|one| one.from = Address::ZERO, "to be signed by"),
        ];
        for (change, expected) in cases {
            let mut one = unsigned();
            change(&mut one);
            let read = UnsignedFile::parse(&written(&UnsignedFile::new(vec![one])), 31_337);
            let error = match read {
                Ok(file) => file.transactions[0].sign(&key()).unwrap_err(),
                Err(error) => error,
            };
            assert!(error.to_string().contains(expected), "{error}");
        }
        let twice = written(&UnsignedFile::new(vec![unsigned(), unsigned()]));
        assert_eq!(UnsignedFile::parse(&twice, 31_337), Err(FormError::Twice(4)));
        let none = written(&UnsignedFile::new(Vec::new()));
        assert_eq!(UnsignedFile::parse(&none, 31_337), Err(FormError::Count(0)));
        let signed = unsigned().sign(&key()).unwrap();
        let other = Signed { hash: B256::ZERO, ..signed.clone() };
        let error = SignedFile::parse(&written(&SignedFile::new(vec![other])), 31_337).unwrap_err();
        assert!(matches!(error, FormError::Hash { .. }), "{error}");
        let file = written(&SignedFile::new(vec![signed.clone()]));
        assert!(matches!(SignedFile::parse(&file, 1), Err(FormError::Chain { .. })));
        assert!(matches!(UnsignedFile::parse(&file, 31_337), Err(FormError::Form { .. })));
        let newer = file.replace("\"version\":1", "\"version\":2");
        assert_eq!(SignedFile::parse(&newer, 31_337), Err(FormError::Version(2)));
        let mut raw = signed.raw.to_vec();
        raw.pop();
        for text in [Bytes::from(raw).to_string(), "0x".to_owned(), "0x02c0".to_owned()] {
            assert!(matches!(SignedFile::parse(&text, 31_337), Err(FormError::Raw(_))), "{text}");
        }
    }

    #[test]
    fn bytes_for_wallets_are_those_of_the_fields_and_what_they_sign_is_compared() {
        let unsigned = unsigned().with_bytes();
        let text = written(&UnsignedFile::new(vec![unsigned.clone()]));
        assert!(text.contains("\"raw\":\"0x02") && text.contains("\"signingHash\":\"0x"), "{text}");
        let file = UnsignedFile::parse(&text, 31_337).unwrap();
        let hash = alloy::primitives::keccak256(unsigned.raw.clone().unwrap());
        assert_eq!(unsigned.signing_hash, Some(hash), "EIP-1559: Keccak-256 of type and fields");
        let changed = Unsigned { nonce: U64::from(5), ..unsigned.clone() };
        let text = written(&UnsignedFile::new(vec![changed]));
        assert_eq!(UnsignedFile::parse(&text, 31_337), Err(FormError::Bytes));

        let signed = |one: &Unsigned| {
            let text = written(&SignedFile::new(vec![one.sign(&key()).unwrap()]));
            SignedFile::parse(&text, 31_337).unwrap()
        };
        assert_eq!(file.is(&signed(&unsigned)), Ok(()));
        let dearer =
            Unsigned { max_fee_per_gas: U128::from(4_000_000_000_u64), ..unsigned.clone() };
        assert_eq!(file.is(&signed(&dearer)), Ok(()));
        let other = [
            (Unsigned { nonce: U64::from(5), ..unsigned.clone() }, "its nonce"),
            (Unsigned { to: Address::ZERO, ..unsigned.clone() }, "the contract"),
            (Unsigned { data: Bytes::new(), ..unsigned.clone() }, "its data"),
        ];
        for (one, what) in other {
            assert_eq!(file.is(&signed(&one)), Err(FormError::Differs { nonce: 4, what }));
        }
        let stranger = Unsigned { from: Address::ZERO, ..unsigned };
        let stranger = UnsignedFile::new(vec![stranger]).is(&signed(&file.transactions[0]));
        assert_eq!(stranger, Err(FormError::Differs { nonce: 4, what: "its signer" }));
        assert_eq!(file.is(&[]), Err(FormError::Counts { expected: 1, found: 0 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]
        #[test]
        fn no_bytes_make_it_panic_and_none_pass_for_what_was_signed(at in 0_usize..1000, byte: u8, length in 0_usize..1000) {
            let signed = unsigned().sign(&key()).unwrap();
            let mut raw = signed.raw.to_vec();
            let at = at % raw.len();
            raw[at] = byte;
            raw.truncate(length.max(at + 1));
            let changed = raw != signed.raw;
            if let Ok(known) = SignedFile::parse(&Bytes::from(raw).to_string(), 31_337) {
                let same = known[0].hash == signed.hash && known[0].from == unsigned().from;
                prop_assert!(changed != same);
            }
        }
    }
}
