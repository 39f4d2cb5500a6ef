//! `[settlement]`.

use std::time::Duration;

use super::MAX_RPC;
use crate::section::Section;
use crate::settlement::{CLAIM_EVERY, DAY_BUDGET_WEI, Gas, MAX_FEE_WEI, Network, Settlement};
use crate::value::{self, Backend};

/// How often may be claimed: networks of tests have eras of seconds; who waits for more than a month forgot it.
const CLAIM_SECONDS: std::ops::RangeInclusive<u64> = 10..=31 * 86_400;

/// Numbers of nodes in the ICN protocol.
const NODES: std::ops::RangeInclusive<i128> = 0..=u64::MAX as i128;

/// Keys of the one backend, and of the other.
const OF_REFERENCE: [&str; 8] = [
    "registry",
    "eras",
    "claims",
    "pay_gas",
    "max_fee",
    "day_budget",
    "claim_every",
    "claim_at_least",
];
const OF_ICN_V5: [&str; 3] = ["protocol", "node", "abi"];

/// Keys that mean something only where the node pays.
const OF_GAS: [&str; 4] = ["max_fee", "day_budget", "claim_every", "claim_at_least"];

pub(super) fn settlement(
    section: &mut Section<'_, '_, '_>,
    has_network: bool,
) -> Option<Option<Settlement>> {
    if !has_network {
        let message =
            "chain, contract and eras are those of [sla]: write that section, without a mistake";
        section.fault("backend", message.to_owned());
    }
    let backend = section.required("backend", value::backend);
    let rpc = section.texts("rpc", MAX_RPC, value::rpc_url);
    if !section.has("rpc") || rpc.as_ref().is_some_and(Vec::is_empty) {
        let message =
            "no server of the chain: add rpc = [\"https://…\"], better two of different operators";
        section.fault("rpc", message.to_owned());
    }
    let hp_account = section.required("hp_account", value::chain_address);
    if hp_account == Some([0; 20]) {
        section.fault("hp_account", "account 0 is nobody's: write the HP's account".to_owned());
    }
    let (network, foreign) = match backend? {
        Backend::Reference => (reference(section), OF_ICN_V5.as_slice()),
        Backend::IcnV5 => (icn_v5(section), OF_REFERENCE.as_slice()),
    };
    for key in foreign {
        if section.has(key) {
            section.fault(key, "the key is of the other backend: remove it".to_owned());
        }
    }
    let gas = gas(section);
    Some(Some(Settlement { rpc: rpc?, hp_account: hp_account?, network: network?, gas }))
}

fn reference(section: &mut Section<'_, '_, '_>) -> Option<Network> {
    let registry = section.required("registry", value::chain_address);
    let eras = section.required("eras", value::chain_address);
    let claims = section.required("claims", value::chain_address);
    Some(Network::Reference { registry: registry?, eras: eras?, claims: claims? })
}

fn icn_v5(section: &mut Section<'_, '_, '_>) -> Option<Network> {
    let protocol = section.required("protocol", value::chain_address);
    let node = section.required_integer("node", *NODES.start(), *NODES.end());
    let abi = section.text("abi", value::abi).unwrap_or_default();
    let node = node.and_then(|node| u64::try_from(node).ok());
    Some(Network::IcnV5 { protocol: protocol?, node: node?, abi })
}

fn gas(section: &mut Section<'_, '_, '_>) -> Option<Gas> {
    let pays = section.flag("pay_gas").unwrap_or(false);
    let max_fee_wei = section.text("max_fee", value::gwei).unwrap_or(MAX_FEE_WEI);
    let day_budget_wei = section.text("day_budget", value::ether).unwrap_or(DAY_BUDGET_WEI);
    let claim_every = every(section);
    let claim_at_least = section.text("claim_at_least", value::tokens).unwrap_or(0);
    if !pays {
        for key in OF_GAS {
            if section.has(key) {
                let message =
                    "nothing is paid without pay_gas = true: add that, or remove this key";
                section.fault(key, message.to_owned());
            }
        }
    }
    pays.then_some(Gas { max_fee_wei, day_budget_wei, claim_every, claim_at_least })
}

fn every(section: &mut Section<'_, '_, '_>) -> Duration {
    let found = section.text("claim_every", value::duration);
    if found.is_some_and(|found| !CLAIM_SECONDS.contains(&found.as_secs())) {
        section.fault("claim_every", "write a time from \"10s\" to \"31d\"".to_owned());
    }
    found.unwrap_or(CLAIM_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::Abi;
    use crate::{ClaimMode, parse};

    const SLA: &str = r#"
[sla]
chain = 1
contract = "0xc0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"
genesis = 0
[[sla.oracle]]
name = "one"
url = "https://one.example.net"
address = "0x0101010101010101010101010101010101010101"
certificate = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
"#;

    const REFERENCE: &str = r#"
[settlement]
backend = "reference"
rpc = ["https://rpc.example.net/top-secret"]
hp_account = "0x4848484848484848484848484848484848484848"
registry = "0x0202020202020202020202020202020202020202"
eras = "0x0303030303030303030303030303030303030303"
claims = "0x0404040404040404040404040404040404040404"
"#;

    const ICN: &str = r#"
[settlement]
backend = "icn-v5"
rpc = ["https://rpc.example.net"]
hp_account = "0x4848484848484848484848484848484848484848"
protocol = "0x0505050505050505050505050505050505050505"
node = 12
"#;

    fn read(settlement: &str) -> (Option<Settlement>, Vec<crate::Problem>) {
        let (config, problems) = parse(&format!("version = 1\n{SLA}{settlement}"));
        assert_eq!(config.disks.claim, ClaimMode::BlankOnly);
        (config.settlement, problems)
    }

    #[test]
    fn a_node_only_watches_unless_it_is_told_to_pay() {
        let (watching, problems) = read(REFERENCE);
        assert_eq!(problems, []);
        assert_eq!(watching.expect("settlement").gas, None);
        let (paying, problems) = read(&format!("{REFERENCE}pay_gas = true\n"));
        assert_eq!(problems, []);
        let gas = paying.expect("settlement").gas.expect("it pays");
        let defaults = (MAX_FEE_WEI, DAY_BUDGET_WEI, CLAIM_EVERY, 0);
        let found = (gas.max_fee_wei, gas.day_budget_wei, gas.claim_every, gas.claim_at_least);
        assert_eq!(found, defaults);
    }

    #[test]
    fn the_icn_protocol_is_read_by_its_number() {
        let (found, problems) = read(ICN);
        assert_eq!(problems, []);
        let Network::IcnV5 { node, abi, .. } = found.expect("settlement").network else {
            panic!("another backend")
        };
        assert_eq!((node, abi), (12, Abi::V5_0_3));
    }

    #[test]
    fn a_mistake_leaves_it_out_and_says_what_to_write() {
        let cases = [
            (REFERENCE, "\"reference\"", "\"ours\"", "backend", "\"reference\" or \"icn-v5\""),
            (
                REFERENCE,
                "hp_account = \"0x4848",
                "hp_account = \"0x",
                "hp_account",
                "40 hex digits",
            ),
            (
                REFERENCE,
                "0x4848484848484848484848484848484848484848",
                ZERO,
                "hp_account",
                "nobody's",
            ),
            (REFERENCE, "https://rpc", "http://rpc", "rpc", "https://"),
            (REFERENCE, "https://rpc.example.net/top-secret", "http://8.8.8.8", "rpc", "https://"),
            (REFERENCE, "[\"https://rpc.example.net/top-secret\"]", "[]", "rpc", "no server"),
            (REFERENCE, "registry = \"0x02", "registry = \"0x", "registry", "40 hex digits"),
            (
                REFERENCE,
                "eras = \"0x0303030303030303030303030303030303030303\"\n",
                "",
                "eras",
                "missing",
            ),
            (REFERENCE, "backend", "node = 1\nbackend", "node", "other backend"),
            (REFERENCE, "backend", "max_fee = \"1 gwei\"\nbackend", "max_fee", "pay_gas = true"),
            (REFERENCE, "backend", "pay_gas = true\nmax_fee = \"1\"\nbackend", "max_fee", "gwei"),
            (
                REFERENCE,
                "backend",
                "pay_gas = true\nday_budget = \"1 gwei\"\nbackend",
                "day_budget",
                "ETH",
            ),
            (
                REFERENCE,
                "backend",
                "pay_gas = true\nclaim_every = \"1s\"\nbackend",
                "claim_every",
                "10s",
            ),
            (
                REFERENCE,
                "backend",
                "pay_gas = true\nclaim_at_least = \"-1\"\nbackend",
                "claim_at_least",
                "\"2.5\"",
            ),
            (ICN, "node = 12", "node = -1", "node", "from 0 to"),
            (ICN, "node = 12", "node = 12\nabi = \"6\"", "abi", "5.0.3"),
            (ICN, "node = 12", "node = 12\npay_gas = true", "pay_gas", "other backend"),
        ];
        for (whole, from, to, key, words) in cases {
            let (found, problems) = read(&whole.replacen(from, to, 1));
            assert_eq!(found, None, "{from} → {to}");
            let key = format!("settlement.{key}");
            let told = problems.iter().any(|p| p.key == key && p.message.contains(words));
            assert!(told, "{key}, {words}: {problems:?}");
            assert!(!format!("{problems:?}").contains("top-secret"), "{problems:?}");
        }
        let (config, problems) = parse(&format!("version = 1\n{REFERENCE}"));
        assert_eq!(config.settlement, None);
        assert!(problems.iter().any(|problem| problem.message.contains("[sla]")), "{problems:?}");
    }

    const ZERO: &str = "0x0000000000000000000000000000000000000000";

    #[test]
    fn what_may_be_secret_in_a_server_s_url_is_never_printed() {
        let (found, _) = read(REFERENCE);
        assert!(!format!("{found:?}").contains("top-secret"));
    }
}
