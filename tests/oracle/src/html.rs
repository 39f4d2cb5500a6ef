//! The pages as text. What nodes said of themselves is marked so, and everything is escaped.

use std::fmt::{Display, Write as _};

use agent_sla::protocol::report::Facts;
use agent_sla::protocol::{Address, B256};

use crate::service::Oracle;
use crate::state::{EraSummary, Node, ReportHead};

/// Nodes that the first page lists.
const ROWS_MAX: usize = 2_000;

/// Eras of each node that the first page shows.
const ERAS_SHOWN: usize = 3;

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2em;max-width:110em}\
table{border-collapse:collapse}th,td{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:left;\
vertical-align:top}code{font-size:13px}.bad{color:#a00}.self{color:#666}";

/// Text in which nothing means anything to a browser.
fn escaped(text: &impl Display) -> String {
    let mut found = String::new();
    for character in text.to_string().chars() {
        match character {
            '&' => found.push_str("&amp;"),
            '<' => found.push_str("&lt;"),
            '>' => found.push_str("&gt;"),
            '"' => found.push_str("&quot;"),
            '\'' => found.push_str("&#39;"),
            other => found.push(other),
        }
    }
    found
}

fn framed(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style>\n<h1>{title}</h1>\n{body}</html>\n"
    )
}

/// A page of one sentence.
#[must_use]
pub fn plain(text: &str) -> String {
    framed("SLA oracle", &format!("<p>{}</p>\n", escaped(&text)))
}

/// The first page: all nodes.
#[must_use]
pub fn overview(oracle: &Oracle) -> String {
    let now = oracle.now_ms();
    let era = oracle.era().map_or_else(|_| "none yet".to_owned(), |era| era.to_string());
    let state = oracle.state();
    let mut nodes: Vec<(&Address, &Node)> = state.nodes().collect();
    nodes.sort_by_key(|(_, node)| node.id);
    let mut body = format!(
        "<p>Oracle <code>{}</code>, era {era}; {} nodes known, {} daemons admitted.</p>\n\
         <table><tr><th>node<th>session<th>last eras: passed of checks, latency, challenge\
         <th class=self>last report (self-reported)</tr>\n",
        oracle.address(),
        nodes.len(),
        oracle.config().admitted.count()
    );
    for (daemon, node) in nodes.iter().take(ROWS_MAX) {
        let session = node.standing.peer().map_or_else(
            || "<span class=bad>none</span>".to_owned(),
            |peer| format!("{peer}, spoke {} ago", age(now, node.seen_at)),
        );
        let eras: Vec<String> = node.history.iter().take(ERAS_SHOWN).map(era_line).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            "<tr><td><a href=\"/node/{daemon}\"><code>{}</code></a><td>{session}<td>{}\
             <td class=self>{}</tr>",
            short(&node.id),
            eras.join("<br>"),
            node.delivery.head.as_ref().map_or_else(|| "none".to_owned(), |head| report(head, now)),
        );
    }
    body.push_str("</table>\n");
    if nodes.len() > ROWS_MAX {
        let _ = writeln!(body, "<p>Only the first {ROWS_MAX} are listed.</p>");
    }
    framed("SLA oracle", &body)
}

/// The page of one node; none if it is not known.
#[must_use]
pub fn node(oracle: &Oracle, daemon: &Address) -> Option<String> {
    let now = oracle.now_ms();
    let (mut body, head) = {
        let state = oracle.state();
        let node = state.node(daemon)?;
        let mut body = format!(
            "<p>Node <code>{}</code>, daemon <code>{daemon}</code>.</p>\n<p>Session: {}</p>\n\
             <h2>Measured by this oracle</h2>\n<table><tr><th>era<th>passed of checks<th>latency\
             <th>throughput<th>challenge<th>bytes proven<th>vote</tr>\n",
            node.id,
            node.standing.peer().map_or_else(|| "none".to_owned(), |peer| peer.to_string()),
        );
        for (era, book) in state.books.iter().rev() {
            if let Some(tally) = book.nodes.get(&node.id)
                && !node.history.iter().any(|known| known.era == *era)
            {
                row(&mut body, &EraSummary::of(*era, tally), "not yet");
            }
        }
        for summary in &node.history {
            row(&mut body, summary, if summary.has_vote { "yes" } else { "no" });
        }
        body.push_str("</table>\n");
        (body, node.delivery.head.clone())
    };
    body.push_str("<h2>Self-reported</h2>\n");
    match head {
        None => body.push_str("<p>No report.</p>\n"),
        Some(head) => {
            let _ = writeln!(body, "<p>{}</p>", report(&head, now));
            body.push_str(&facts(oracle, &head));
        }
    }
    Some(framed("Node", &body))
}

fn row(body: &mut String, summary: &EraSummary, vote: &str) {
    let vote = match &summary.conflict {
        None => vote.to_owned(),
        Some((first, second)) => format!(
            "<span class=bad>none: two speak with one key, from {} and {}</span>",
            escaped(first),
            escaped(second)
        ),
    };
    let _ = writeln!(
        body,
        "<tr><td>{}<td>{} of {}<td>{}<td>{}<td>{}<td>{}<td>{vote}</tr>",
        summary.era,
        summary.passed,
        summary.issued,
        latency(summary.latency_us),
        throughput(summary.bytes_per_second),
        challenge(summary.receipt),
        summary.proven_bytes,
    );
}

fn era_line(summary: &EraSummary) -> String {
    if summary.conflict.is_some() {
        let era = summary.era;
        return format!("<span class=bad>era {era}: two speak with one key, no vote</span>");
    }
    format!(
        "era {}: {} of {}, {}, {}",
        summary.era,
        summary.passed,
        summary.issued,
        latency(summary.latency_us),
        challenge(summary.receipt)
    )
}

fn challenge(receipt: Option<bool>) -> &'static str {
    match receipt {
        Some(true) => "passed",
        Some(false) => "<span class=bad>failed</span>",
        None => "not answered",
    }
}

fn report(head: &ReportHead, now: u64) -> String {
    format!(
        "number {}, taken {} ago: {}, {} verdicts that are not healthy",
        head.sequence,
        age(now, head.taken_at),
        escaped(&head.state),
        head.verdicts
    )
}

/// The verdicts of a report, as it lies on disk.
fn facts(oracle: &Oracle, head: &ReportHead) -> String {
    let stored = match oracle.reports().get(head.place) {
        Ok(Some(stored)) => stored,
        Ok(None) => return "<p>The report cannot be read.</p>\n".to_owned(),
        Err(error) => return format!("<p>{}</p>\n", escaped(&error)),
    };
    let Ok(Facts { verdicts, software, .. }) = stored.report.facts() else {
        return "<p>The report is not what was signed.</p>\n".to_owned();
    };
    let mut body = format!("<p>Software {}</p>\n<ul>\n", escaped(&software));
    for verdict in verdicts {
        let words = format!("{:?} {}: {:?}", verdict.kind, verdict.name, verdict.health);
        let evidence = verdict.evidence.join("; ");
        let _ = writeln!(body, "<li>{}: {}</li>", escaped(&words), escaped(&evidence));
    }
    body.push_str("</ul>\n");
    body
}

fn short(node: &B256) -> String {
    node.to_string().chars().take(18).collect()
}

fn latency(micros: u64) -> String {
    match micros {
        0 => "no latency".to_owned(),
        micros => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
    }
}

fn throughput(bytes: u64) -> String {
    match bytes {
        0 => "none".to_owned(),
        bytes => format!("{}.{} MB/s", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// How long ago something was, both in milliseconds.
fn age(now: u64, at: u64) -> String {
    match now.saturating_sub(at) / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_node_says_means_anything_to_a_browser() {
        assert_eq!(escaped(&"<b a=\"x\" c='y'>&"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;");
        assert!(plain("<script>").contains("&lt;script&gt;"));
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(latency(12_345), "12.3 ms");
        assert_eq!(throughput(1_250_000), "1.2 MB/s");
        let ages = [5_000, 300_000, 8_000_000, 400_000_000]
            .map(|before| age(500_000_000, 500_000_000 - before));
        assert_eq!(ages, ["5 s", "5 min", "2 h", "4 days"]);
        assert_eq!(age(1, 2), "0 s");
    }
}
