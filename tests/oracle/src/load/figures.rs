//! What was measured, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use super::node::Outcome;
use super::oracle::Use;

/// What the oracle used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    /// Before the first node came.
    pub(super) before: Use,
    /// When the last one had its receipt.
    pub(super) after: Use,
    /// When the votes were there.
    pub(super) voted: Use,
    /// The most resident bytes seen.
    pub(super) peak: u64,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) nodes: u32,
    pub(super) era_seconds: u32,
    pub(super) samples: u16,
    pub(super) spread: u32,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) spent: Spent,
    pub(super) votes: usize,
    /// Bytes that the oracle wrote down.
    pub(super) written: u64,
    /// Load of the machine before.
    pub(super) load_before: String,
}

/// The machine's load averages.
pub(super) fn machine_load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Median and 99th percentile.
fn percentiles(mut values: Vec<u64>) -> Option<(u64, u64)> {
    values.sort_unstable();
    let at = |percent: usize| values.get((values.len() * percent / 100).min(values.len() - 1));
    if values.is_empty() { None } else { Some((*at(50)?, *at(99)?)) }
}

impl Figures {
    /// Whether every node got through, and has a vote.
    pub(super) fn fits(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.error.is_none())
            && self.votes == self.outcomes.len()
    }

    fn answers(&self) -> Vec<(&'static str, Option<(u64, u64)>)> {
        type Pick = fn(&Outcome) -> Option<u64>;
        let kinds: [(&'static str, Pick); 5] = [
            ("connect and handshake", |outcome| outcome.connect),
            ("session", |outcome| outcome.session),
            ("report", |outcome| outcome.report),
            ("challenge", |outcome| outcome.challenge),
            ("proofs to receipt", |outcome| outcome.answer),
        ];
        let of = |pick: Pick| percentiles(self.outcomes.iter().filter_map(pick).collect());
        kinds.map(|(name, pick)| (name, of(pick))).into()
    }

    fn cpu_ms_per_node(&self) -> f64 {
        let Spent { before, voted, .. } = self.spent;
        (voted.cpu - before.cpu) * 1000.0 / f64::from(self.nodes.max(1))
    }

    fn resident_per_node(&self) -> u64 {
        let grown = self.spent.peak.saturating_sub(self.spent.before.resident);
        grown / u64::from(self.nodes.max(1))
    }

    fn errors(&self) -> BTreeMap<&str, usize> {
        let mut found = BTreeMap::new();
        for error in self.outcomes.iter().filter_map(|outcome| outcome.error.as_deref()) {
            *found.entry(error).or_default() += 1;
        }
        found
    }

    /// As a table in Markdown.
    pub(super) fn table(&self) -> String {
        let Spent { before, after, voted, peak } = self.spent;
        let receipts = self.outcomes.iter().filter(|outcome| outcome.error.is_none()).count();
        let whole = percentiles(self.outcomes.iter().filter_map(|o| o.whole).collect());
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let mut rows: Vec<(String, String)> = vec![
            (
                "simulated".to_owned(),
                format!(
                    "{} nodes, era of {} s, arriving within {}% of it, {} samples each",
                    self.nodes, self.era_seconds, self.spread, self.samples
                ),
            ),
            ("load of the machine before".to_owned(), self.load_before.clone()),
            ("receipts passed; votes".to_owned(), format!("{receipts}; {}", self.votes)),
            (
                "everything within the era".to_owned(),
                if self.fits() { "yes" } else { "no" }.to_owned(),
            ),
            (
                "oracle's CPU until the last receipt; with votes".to_owned(),
                format!("{:.1} s; {:.1} s", after.cpu - before.cpu, voted.cpu - before.cpu),
            ),
            ("oracle's CPU per node".to_owned(), format!("{:.2} ms", self.cpu_ms_per_node())),
            (
                "oracle's memory: before; peak; per node".to_owned(),
                format!(
                    "{}; {}; {:.1} KiB",
                    mib(before.resident),
                    mib(peak),
                    self.resident_per_node() as f64 / 1024.0
                ),
            ),
            (
                "written per node".to_owned(),
                format!("{:.1} KiB", self.written as f64 / 1024.0 / f64::from(self.nodes.max(1))),
            ),
        ];
        let ms = |micros: u64| format!("{:.1}", micros as f64 / 1000.0);
        for (name, found) in self.answers() {
            let text = found.map_or_else(
                || "none".to_owned(),
                |(median, most)| format!("{} ms; {} ms", ms(median), ms(most)),
            );
            rows.push((format!("{name}: median; 99%"), text));
        }
        if let Some((median, most)) = whole {
            let text = format!("{median} ms; {most} ms");
            rows.push(("from its moment to its receipt: median; 99%".to_owned(), text));
        }
        for (error, count) in self.errors() {
            rows.push((format!("{count} nodes"), error.to_owned()));
        }
        let mut table = String::from("| | |\n|---|---|\n");
        for (name, value) in rows {
            // Writing to a string does not fail.
            let _ = writeln!(table, "| {name} | {value} |");
        }
        table
    }

    /// Everything as JSON.
    pub(super) fn json(&self) -> Value {
        let answers: BTreeMap<_, _> = self
            .answers()
            .into_iter()
            .filter_map(|(name, found)| {
                let (median, most) = found?;
                Some((name, json!({ "median_us": median, "p99_us": most })))
            })
            .collect();
        json!({
            "nodes": self.nodes,
            "era_seconds": self.era_seconds,
            "samples": self.samples,
            "spread_percent": self.spread,
            "load_before": self.load_before,
            "fits": self.fits(),
            "votes": self.votes,
            "cpu_ms_per_node": self.cpu_ms_per_node(),
            "resident_bytes_per_node": self.resident_per_node(),
            "resident_peak": self.spent.peak,
            "written_bytes": self.written,
            "answers": answers,
            "errors": self.errors(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_sorted_values() {
        assert_eq!(percentiles((1..=100).rev().collect()), Some((51, 100)));
        assert_eq!(percentiles(vec![7]), Some((7, 7)));
        assert_eq!(percentiles(Vec::new()), None);
    }
}
