//! Wallets that sign elsewhere: what they are given, what they give back, and what L1 takes.

use alloy::primitives::{B256, Bytes, U256, hex, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use serde_json::{Value, json};

use crate::chain::{Chain, HP_KEY, hp};
use crate::payout::{LABEL, binding, node};
use crate::tool::Tool;

/// The key of anvil's first account: it is public.
const PAYER_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// Where chains of the OP stack and of Arbitrum answer what L1 takes.
const OP_STACK: &str = "0x420000000000000000000000000000000000000F";
const ARBITRUM: &str = "0x00000000000000000000000000000000000000C8";

fn signer(key: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&hex::decode(key).expect("hex")).expect("a key")
}

/// A number as RLP has it.
fn rlp(number: U256) -> Vec<u8> {
    let bytes = number.to_be_bytes_trimmed_vec();
    match bytes[..] {
        [small] if small < 0x80 => bytes,
        _ => [vec![0x80 + u8::try_from(bytes.len()).expect("short")], bytes].concat(),
    }
}

/// What a wallet makes of the unsigned bytes alone: it knows nothing of this tool.
fn signed_by_wallet(unsigned: &Value, signer: &PrivateKeySigner) -> String {
    let raw: Bytes = serde_json::from_value(unsigned["raw"].clone()).expect("bytes");
    let hash: B256 = serde_json::from_value(unsigned["signingHash"].clone()).expect("a hash");
    assert_eq!((raw[0], keccak256(&raw)), (2, hash));
    let header = match raw[1] {
        0xf8 => 2,
        0xf9 => 3,
        other => panic!("a list of more than 55 bytes begins with {other:#x}"),
    };
    let signature = signer.sign_hash_sync(&hash).expect("a signature");
    let parity = U256::from(u8::from(signature.v()));
    let payload =
        [raw[1 + header..].to_vec(), rlp(parity), rlp(signature.r()), rlp(signature.s())].concat();
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    hex::encode_prefixed([&[2, 0xf9][..], &length, &payload].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_only_signs_consents_and_another_account_binds() {
    let chain = Chain::start(41_027).await;
    let tool = Tool::new(&chain, &format!("hp_account = \"{}\"\n", hp()));
    tool.done(&["register", "--label", LABEL, "--wait", "mined"]);
    let sent = chain.sent().await;
    let signed = binding(&chain, 7, |_| {});
    tool.write("binding.json", &serde_json::to_string(&signed).expect("JSON"));
    let asked = tool.told(&["consent", "--binding", "binding.json", "--out", "typed.json"]);
    assert_eq!(asked["typedData"], tool.read("typed.json"));
    assert_eq!(asked["typedData"]["primaryType"], "DaemonBinding");
    let digest: B256 = serde_json::from_value(asked["digest"].clone()).expect("a digest");
    let consent = |key: &str| {
        let signature = signer(key).sign_hash_sync(&digest).expect("a signature");
        hex::encode_prefixed(signature.as_bytes())
    };

    let payer = signer(PAYER_KEY);
    let account = payer.address().to_string();
    let bind = ["bind", "--binding", "binding.json", "--consent", "consent", "--payer", &account];
    let out = [&bind[..], &["--out", "bind.json"]].concat();
    tool.write("consent", &consent(PAYER_KEY));
    tool.ask(&out).refused("must sign what `consent` wrote");
    tool.write("consent", "no signature");
    tool.ask(&out).refused("neither a signature");
    tool.write("consent", &json!({ "signature": consent(&hex::encode(HP_KEY)) }).to_string());
    tool.told(&out);
    let unsigned = tool.read("bind.json")["transactions"][0].clone();
    assert_eq!(unsigned["from"], json!(payer.address()));

    // Another transaction than was prepared is not sent, whoever signed it.
    let mut other = unsigned.clone();
    other["nonce"] = json!("0x7fff");
    for bytes in ["raw", "signingHash"] {
        other.as_object_mut().expect("fields").remove(bytes);
    }
    tool.write("other.json", &json!({ "form": "icn-settle unsigned transactions", "version": 1, "transactions": [other] }).to_string());
    let send = |file: &str, unsigned: &str| {
        tool.ask(&["send", file, "--unsigned", unsigned, "--wait", "mined"])
    };
    tool.write("signed.hex", &signed_by_wallet(&unsigned, &payer));
    send("signed.hex", "other.json").refused("in its nonce");
    tool.write("stranger.hex", &signed_by_wallet(&unsigned, &signer(&hex::encode(HP_KEY))));
    send("stranger.hex", "bind.json").refused("in its signer");
    let run = send("signed.hex", "bind.json");
    assert_eq!(run.code, Some(0), "{}", run.text);

    let status = tool.told(&["status", "--node", &node().to_string()]);
    let next = &status["nodes"][0]["daemonNext"]["daemon"];
    assert_eq!(*next, json!(signed.message.daemonAddress), "{status}");
    assert_eq!(chain.sent().await, sent, "the HP's account sent nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_l1_takes_is_shown_and_must_be_there() {
    let chain = Chain::start(41_028).await;
    let tool = Tool::new(&chain, &format!("hp_account = \"{}\"\n", hp()));
    let register = ["register", "--label", LABEL, "--dry-run"];
    let wei = |value: &Value| value.as_str().expect("digits").parse::<u128>().expect("a number");
    let without = tool.told(&register);
    assert!(without["l1FeeWei"].is_null(), "a chain that has no L1: {without}");

    // One gwei for each byte of what it is asked.
    chain.ask("anvil_setCode", json!([OP_STACK, "0x36633b9aca000260005260206000f3"])).await;
    let with = tool.told(&register);
    let fee = wei(&with["l1FeeWei"]);
    // Selector, offset, length, and some 80 bytes of the transaction in whole words.
    let bytes = fee / 1_000_000_000;
    assert!((4 + 32 * 4..4 + 32 * 7).contains(&bytes), "{bytes} bytes were asked about");
    assert_eq!(fee % 1_000_000_000, 0);
    assert!(wei(&with["costNowWei"]) > fee && wei(&with["costAtMostWei"]) > 2 * fee, "{with}");

    // More than the account has: nothing is signed.
    chain.ask("anvil_setCode", json!([OP_STACK, "0x670de0b6b3a764000060005260206000f3"])).await;
    tool.ask(&register).refused("are needed for gas");
    assert_eq!(chain.sent().await, 0);

    // What answers with something else than a price is no such chain; one that refuses leaves open what it takes.
    chain.ask("anvil_setCode", json!([OP_STACK, "0x60406000f3"])).await;
    let other = tool.told(&register);
    assert!(other["l1FeeWei"].is_null() && other["l1FeeUnknown"].is_null(), "{other}");
    chain.ask("anvil_setCode", json!([OP_STACK, "0x60006000fd"])).await;
    let unknown = tool.told(&register);
    let why = unknown["l1FeeUnknown"].as_str().expect("why");
    assert!(unknown["l1FeeWei"].is_null() && why.contains("revert"), "{unknown}");
    // To look is allowed. Nobody agrees to a cost that is not shown, and nothing is left to be signed once it is known.
    let prepared = tool.told(&["register", "--label", LABEL, "--out", "register.json"]);
    assert_eq!(prepared["l1FeeUnknown"], unknown["l1FeeUnknown"]);
    tool.sign(&["register", "--label", LABEL, "--wait", "mined", "--timeout", "10"])
        .refused("what L1's data costs is not known");
    chain.ask("anvil_setCode", json!([OP_STACK, "0x"])).await;
    assert_eq!(chain.sent().await, 0);
    // 1,000 gas at 7 wei, as a part of the gas that is estimated.
    let code = "0x6103e860005260076020526009604052606060 00f3".replace(' ', "");
    chain.ask("anvil_setCode", json!([ARBITRUM, code])).await;
    assert_eq!(wei(&tool.told(&register)["l1FeeWei"]), 7000);
}
