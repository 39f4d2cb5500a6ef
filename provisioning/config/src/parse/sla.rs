//! `[sla]` with its oracles and report stores.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{MAX_ORACLES, MAX_REPORT_STORES, known};
use crate::section::Section;
use crate::sla::{ERA, Oracle, REPORT_EVERY, ReportStore, SAMPLES, Sla};
use crate::value::{self, quoted};

/// The numbers of chains (EIP-155); 0 is none.
const CHAINS: std::ops::RangeInclusive<i128> = 1..=u64::MAX as i128;

/// When era 0 may begin: any second since 1970 before the year 10000.
const GENESIS: std::ops::RangeInclusive<i128> = 0..=253_402_300_799;

/// How long an era may be: everything of one must fit into it, and a day is the longest that a mistake may
/// cost.
const ERA_SECONDS: std::ops::RangeInclusive<u64> = 20..=86_400;

/// How many bytes an oracle may ask for: 512 groups of 16 KiB are what one message carries.
const SAMPLE_COUNTS: std::ops::RangeInclusive<i128> = 1..=512;

/// How often a node may report.
const REPORT_SECONDS: std::ops::RangeInclusive<u64> = 10..=3600;

pub(super) fn sla(section: &mut Section<'_, '_, '_>) -> Option<Option<Sla>> {
    let chain = section.required_integer("chain", *CHAINS.start(), *CHAINS.end());
    let contract = section.required("contract", value::chain_address);
    let genesis = section.required_integer("genesis", *GENESIS.start(), *GENESIS.end());
    let era = time(section, "era", ERA_SECONDS, ERA, "from \"20s\" to \"24h\"");
    let samples = section.integer("samples", *SAMPLE_COUNTS.start(), *SAMPLE_COUNTS.end());
    let report_every =
        time(section, "report_every", REPORT_SECONDS, REPORT_EVERY, "from \"10s\" to \"1h\"");
    let s3_endpoint = section.text("s3_endpoint", value::https_url);
    let mut names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let keys = known("sla.oracle");
    let oracles = section.tables("oracle", "sla.oracle", keys, MAX_ORACLES, |section| {
        let oracle = oracle(section)?;
        once(section, "name", names.insert(oracle.name.clone()), &oracle.name);
        let address = "the same address";
        once(section, "address", addresses.insert(oracle.address), address);
        Some(oracle)
    });
    let keys = known("sla.report_store");
    let report_stores =
        section.tables("report_store", "sla.report_store", keys, MAX_REPORT_STORES, |section| {
            let store = report_store(section)?;
            once(section, "name", names.insert(store.name.clone()), &store.name);
            Some(store)
        });
    if !section.has("oracle") {
        let message = "no oracle: add [[sla.oracle]], or take [sla] out".to_owned();
        section.fault("oracle", message);
    }
    let number = |number: i128| u64::try_from(number).ok();
    Some(Some(Sla {
        chain: chain.and_then(number)?,
        contract: contract?,
        genesis: genesis.and_then(number)?,
        era,
        samples: samples.and_then(|samples| u16::try_from(samples).ok()).unwrap_or(SAMPLES),
        report_every,
        s3_endpoint,
        oracles,
        report_stores,
    }))
}

fn oracle(section: &mut Section<'_, '_, '_>) -> Option<Oracle> {
    let name = section.required("name", value::node_name);
    let url = section.required("url", value::https_url);
    let address = section.required("address", value::chain_address);
    let certificate = section.required("certificate", value::fingerprint);
    Some(Oracle { name: name?, url: url?, address: address?, certificate: certificate? })
}

fn report_store(section: &mut Section<'_, '_, '_>) -> Option<ReportStore> {
    let name = section.required("name", value::node_name);
    let url = section.required("url", value::https_url);
    let certificate = section.required("certificate", value::fingerprint);
    Some(ReportStore { name: name?, url: url?, certificate: certificate? })
}

fn once(section: &mut Section<'_, '_, '_>, key: &str, first: bool, what: &str) {
    if !first {
        let message = format!("{} is there twice: give each entry its own", quoted(what));
        section.fault(key, message);
    }
}

fn time(
    section: &mut Section<'_, '_, '_>,
    key: &str,
    seconds: std::ops::RangeInclusive<u64>,
    default: Duration,
    bounds: &str,
) -> Duration {
    let found = section.text(key, value::duration);
    if found.is_some_and(|found| !seconds.contains(&found.as_secs())) {
        section.fault(key, format!("write a time {bounds}"));
    }
    found.unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClaimMode, parse};

    /// A section for a network with one oracle, without its last line.
    const NETWORK: &str = r#"
[sla]
chain = 1
contract = "0xc0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"
genesis = 0
[[sla.oracle]]
name = "one"
url = "https://one.example.net"
address = "0x0101010101010101010101010101010101010101"
"#;

    const CERTIFICATE: &str =
        "certificate = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n";

    #[test]
    fn a_network_has_its_defaults() {
        let (config, problems) = parse(&format!("version = 1\n{NETWORK}{CERTIFICATE}"));
        assert_eq!(problems, []);
        let sla = config.sla.expect("a network");
        assert_eq!((sla.era, sla.samples, sla.report_every), (ERA, SAMPLES, REPORT_EVERY));
    }

    #[test]
    fn a_mistake_in_a_network_leaves_it_out_and_says_what_to_write() {
        let whole = format!("version = 1\n{NETWORK}{CERTIFICATE}");
        let cases = [
            ("chain = 1\n", "", "sla.chain", "the key is missing"),
            ("chain = 1\n", "chain = 0\n", "sla.chain", "from 1 to"),
            ("0xc0c0", "0xzzzz", "sla.contract", "40 hex digits"),
            ("genesis = 0", "genesis = -1", "sla.genesis", "from 0 to"),
            ("genesis = 0", "genesis = 0\nera = \"1s\"", "sla.era", "\"20s\" to \"24h\""),
            ("genesis = 0", "genesis = 0\nsamples = 513", "sla.samples", "from 1 to 512"),
            ("genesis = 0", "genesis = 0\nreport_every = \"2h\"", "sla.report_every", "\"1h\""),
            ("https://one.example.net", "http://one.example.net", "sla.oracle.url", "https://"),
            ("https://one.example.net", "https://one.example.net/path", "sla.oracle.url", "path"),
            ("https://one.example.net", "https://one:0", "sla.oracle.url", "https://"),
            ("0x0101", "0x01", "sla.oracle.address", "40 hex digits"),
            (CERTIFICATE, "", "sla.oracle.certificate", "the key is missing"),
            ("aaaaaaaa", "aaaa", "sla.oracle.certificate", "64 hex digits"),
        ];
        for (from, to, key, words) in cases {
            let text = whole.replacen(from, to, 1);
            let (config, problems) = parse(&text);
            assert_eq!(config.sla, None, "{text}");
            assert!(
                problems.iter().any(|p| p.key == key && p.message.contains(words)),
                "{problems:?}"
            );
            assert_eq!(config.disks.claim, ClaimMode::BlankOnly);
        }
        let second = whole.find("[[").map(|at| whole[at..].to_owned()).expect("an oracle");
        let (config, problems) = parse(&format!("{whole}{second}"));
        assert_eq!(config.sla, None);
        assert!(problems.iter().all(|problem| problem.message.contains("twice")), "{problems:?}");
        let (head, _) = whole.split_once("[[").expect("an oracle");
        assert!(parse(head).1.iter().any(|problem| problem.message.contains("no oracle")));
    }
}
