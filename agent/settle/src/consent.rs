//! The HP's consent to a binding: the same message that the daemon key signed, signed by a wallet (EIP-712). Anybody may send it
//! then, so a wallet that holds the HP's key need not send transactions.

use agent_settlement::abi::messages::domain;
use agent_sla::protocol::settled::DaemonBinding;
use alloy::primitives::{Address, B256, Bytes, Signature};
use alloy::sol_types::SolStruct;
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest file in bytes; a signature has 132, one of a multisig some thousands.
pub(crate) const FILE_MAX: u64 = 16 << 10;

/// Why a consent is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConsentError {
    /// It is of another form.
    #[error("the consent is neither a signature in hexadecimal nor JSON with `signature`")]
    Form,
    /// It is no signature.
    #[error("the consent is no signature of 65 bytes (r, s, v)")]
    Malformed,
    /// Another signed it.
    #[error(
        "the consent is signed by {found}, or of another binding: the HP {hp} must sign what `consent` wrote"
    )]
    Other { hp: Address, found: Address },
}

/// What a wallet signs, in the form that it reads (`eth_signTypedData_v4`), and its digest.
pub(crate) fn typed_data(
    chain: u64,
    settlement: Address,
    binding: &DaemonBinding,
) -> (Value, B256) {
    let field = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    let typed = json!({
        "types": {
            "EIP712Domain": [
                field("name", "string"),
                field("version", "string"),
                field("chainId", "uint256"),
                field("verifyingContract", "address"),
            ],
            "DaemonBinding": [
                field("nodeId", "bytes32"),
                field("hpAccount", "address"),
                field("daemonAddress", "address"),
                field("attestationKeyHash", "bytes32"),
                field("hardwareReportHash", "bytes32"),
                field("deadline", "uint256"),
            ],
        },
        "primaryType": "DaemonBinding",
        "domain": {
            "name": "ICN SLA",
            "version": "1",
            "chainId": chain,
            "verifyingContract": settlement,
        },
        "message": {
            "nodeId": binding.nodeId,
            "hpAccount": binding.hpAccount,
            "daemonAddress": binding.daemonAddress,
            "attestationKeyHash": binding.attestationKeyHash,
            "hardwareReportHash": binding.hardwareReportHash,
            // Decimal digits: wallets read numbers of 256 bits as text.
            "deadline": binding.deadline.to_string(),
        },
    });
    (typed, digest(chain, settlement, binding))
}

fn digest(chain: u64, settlement: Address, binding: &DaemonBinding) -> B256 {
    binding.eip712_signing_hash(&domain(chain, settlement))
}

/// Reads a signature as wallets give it.
pub(crate) fn parse(text: &str) -> Result<Bytes, ConsentError> {
    #[derive(Deserialize)]
    struct File {
        signature: Bytes,
    }
    let text = text.trim();
    let found = match text.strip_prefix('{') {
        Some(_) => serde_json::from_str::<File>(text).map(|file| file.signature).ok(),
        None => text.trim_matches('"').parse().ok(),
    };
    found.filter(|bytes| !bytes.is_empty()).ok_or(ConsentError::Form)
}

/// That the HP signed a binding, and the signature as contracts take it: with the lower of both values of s, and v 27 or 28. Of an
/// HP that is a contract only that contract can say.
pub(crate) fn check(
    consent: &Bytes,
    (chain, settlement): (u64, Address),
    binding: &DaemonBinding,
) -> Result<Bytes, ConsentError> {
    let signature = Signature::from_raw(consent).map_err(|_| ConsentError::Malformed)?;
    let found = signature.recover_address_from_prehash(&digest(chain, settlement, binding));
    let (found, hp) = (found.map_err(|_| ConsentError::Malformed)?, binding.hpAccount);
    match found == hp {
        true => Ok(signature.normalized_s().as_bytes().to_vec().into()),
        false => Err(ConsentError::Other { hp, found }),
    }
}

#[cfg(test)]
mod tests {
    use agent_sla::protocol::key::SigningKey;
    use agent_sla::protocol::signed::Signed;
    use alloy::primitives::U256;
    use zeroize::Zeroizing;

    use super::*;

    /// The order of secp256k1 (SEC 2).
    const K256_N: U256 = alloy::primitives::uint!(
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256
    );

    const SETTLEMENT: Address = Address::repeat_byte(6);

    fn hp() -> SigningKey {
        SigningKey::from_bytes(&Zeroizing::new([0x48; 32])).unwrap()
    }

    fn binding() -> DaemonBinding {
        DaemonBinding {
            nodeId: B256::repeat_byte(1),
            hpAccount: hp().address(),
            daemonAddress: Address::repeat_byte(2),
            attestationKeyHash: B256::ZERO,
            hardwareReportHash: B256::ZERO,
            deadline: U256::MAX,
        }
    }

    #[test]
    fn a_wallet_reads_the_type_the_domain_and_the_message_that_are_signed() {
        let (typed, digest) = typed_data(5, SETTLEMENT, &binding());
        let fields = |name: &str| {
            let fields = typed["types"][name].as_array().unwrap().iter();
            let fields: Vec<_> = fields
                .map(|field| {
                    format!(
                        "{} {}",
                        field["type"].as_str().unwrap(),
                        field["name"].as_str().unwrap()
                    )
                })
                .collect();
            format!("{name}({})", fields.join(","))
        };
        assert_eq!(fields("DaemonBinding"), DaemonBinding::eip712_encode_type());
        let domain = domain(5, SETTLEMENT);
        assert_eq!(fields("EIP712Domain"), domain.encode_type());
        assert_eq!(typed["domain"]["name"].as_str(), domain.name.as_deref());
        assert_eq!(typed["domain"]["version"].as_str(), domain.version.as_deref());
        assert_eq!(typed["message"]["deadline"], U256::MAX.to_string());
        let mut message = typed["message"].clone();
        message["deadline"] = json!(U256::MAX);
        assert_eq!(serde_json::from_value::<DaemonBinding>(message).unwrap(), binding());
        assert_eq!(digest, binding().eip712_signing_hash(&domain));
    }

    #[test]
    fn only_the_hps_own_signature_of_this_binding_is_a_consent() {
        let signed = Signed::new(binding(), &domain(5, SETTLEMENT), &hp()).unwrap();
        let signature = Bytes::from(signed.signature.0.to_vec());
        for text in [format!("{signature}\n"), json!({ "signature": signature }).to_string()] {
            let consent = parse(&text).unwrap();
            assert_eq!(check(&consent, (5, SETTLEMENT), &binding()), Ok(signature.clone()));
            let other = DaemonBinding { nodeId: B256::ZERO, ..binding() };
            let refused = check(&consent, (5, SETTLEMENT), &other);
            assert!(matches!(refused, Err(ConsentError::Other { .. })));
            assert!(check(&consent, (6, SETTLEMENT), &binding()).is_err(), "another chain");
        }
        // The same with v 0 or 1, and with the other s: contracts refuse both.
        let read = Signature::from_raw(&signature).unwrap();
        let mut short_v = signature.to_vec();
        short_v[64] -= 27;
        let high = Signature::new(read.r(), K256_N - read.s(), !read.v());
        for other in [short_v, high.as_bytes().to_vec()] {
            assert_ne!(other, signature);
            assert_eq!(check(&other.into(), (5, SETTLEMENT), &binding()), Ok(signature.clone()));
        }
        for text in ["", "0x", "{}", "{\"signature\":7}", "words"] {
            assert_eq!(parse(text), Err(ConsentError::Form), "{text}");
        }
        let short = Bytes::from_static(&[1; 64]);
        assert_eq!(check(&short, (5, SETTLEMENT), &binding()), Err(ConsentError::Malformed));
    }
}
