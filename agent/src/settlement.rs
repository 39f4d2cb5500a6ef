//! `icn-agent settlement`: what a running node earned, over its control socket.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use agent_api::client::AgentClient;
use agent_api::settlement::{Amounts, SettlementReport, SettlementStatus, Unsigned, tokens};
use anyhow::{Context as _, Result, bail};

use crate::arguments::{SettlementArguments, SettlementCommand};

/// How long the agent may take to answer, which it does from memory.
const ANSWER: Duration = Duration::from_secs(10);

/// What ends with where somebody has to look.
const ATTENTION: u8 = 2;

/// Shows what was asked for.
///
/// # Errors
/// The agent does not answer, or refuses, or there is none of it; in words.
pub(crate) fn run(arguments: &SettlementArguments) -> Result<ExitCode> {
    let mut client = AgentClient::new(&arguments.control_socket, ANSWER);
    let report = client.settlement()?;
    let SettlementReport { status, binding, unsigned } = &report;
    let json = arguments.json;
    let mut code = ExitCode::SUCCESS;
    let text = match arguments.command.unwrap_or(SettlementCommand::Status) {
        SettlementCommand::Status => {
            if !status.alarms.is_empty() {
                code = ExitCode::from(ATTENTION);
            }
            if json { pretty(status)? } else { status_in_words(status) }
        }
        // A file for the HP's tool: it has one form only.
        SettlementCommand::Binding => match binding {
            Some(binding) => pretty(binding)?,
            None => bail!(
                "nothing is signed: the node has no daemon key yet, or its backend takes no binding"
            ),
        },
        SettlementCommand::Unsigned if json => pretty(unsigned)?,
        SettlementCommand::Unsigned => unsigned_in_words(unsigned),
    };
    print(&text)?;
    Ok(code)
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("stdout")
}

fn pretty<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context("cannot write JSON")? + "\n")
}

/// Lines of a name and what is to be said of it.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, words: impl std::fmt::Display) {
        // Writing into a text does not fail.
        let _ = writeln!(self.0, "{name:12} {words}");
    }

    fn some(&mut self, name: &str, words: Option<impl std::fmt::Display>) {
        if let Some(words) = words {
            self.add(name, words);
        }
    }
}

fn status_in_words(status: &SettlementStatus) -> String {
    let mut lines = Lines::default();
    lines.add("backend", format!("{}, chain {}", status.backend, status.chain));
    lines.some("waits for", status.awaited.as_ref());
    lines.some("node", status.node.as_ref());
    lines.add("HP", &status.hp_account);
    lines.some("daemon", status.daemon.as_ref());
    if let Some(gas) = &status.gas {
        let balance = gas.balance_wei.as_deref().map_or("unknown".to_owned(), tokens);
        lines.add("gas", format!("{} has {balance} ETH", gas.address));
    }
    if let Some(seen) = &status.seen {
        let bound = match (seen.is_bound, &seen.daemon) {
            (true, _) => "this node's daemon key is bound".to_owned(),
            (false, None) => "no daemon key is bound".to_owned(),
            (false, Some(other)) => format!("another daemon key is bound: {other}"),
        };
        lines.add(
            "on chain",
            format!("{}; {bound}; seen {} s ago", seen.standing, seen.age_seconds),
        );
        lines.some("leaves at", seen.exit_at.map(|at| format!("{at} s since 1970")));
    }
    amounts(&mut lines, &status.amounts);
    if let Some(root) = &status.root {
        let how = if root.is_final { "final" } else { "can be disputed" };
        let (number, era, oracle) = (root.number, root.to_era, &root.oracle);
        lines.add("root", format!("{number}, up to era {era}, {how}, shown by {oracle}"));
    }
    if let Some(claim) = &status.claim {
        let transaction = claim.transaction.as_deref().unwrap_or("nothing is signed");
        lines.add("claim", format!("root {}: {}; {transaction}", claim.root, claim.stage));
    }
    lines.some("no claim", status.waits.as_ref());
    for era in &status.eras {
        let of = match era.from_era == era.to_era {
            true => format!("{}", era.to_era),
            false => format!("{} to {}", era.from_era, era.to_era),
        };
        let used = format!("{} byte-hours, {} requests", era.byte_hours, era.requests);
        lines.add("era", format!("{of}: {used}: {}", era.stage));
    }
    for penalty in &status.penalties {
        let (passed, issued) = (penalty.passed, penalty.issued);
        let amount = tokens(&penalty.amount);
        lines.add("penalty", format!("era {}: {passed} of {issued} passed: {amount}", penalty.era));
    }
    for alarm in &status.alarms {
        lines.add("ALARM", alarm);
    }
    if let Some(error) = &status.error {
        let (what, ago, lasts) = (&error.what, error.age_seconds, error.lasts_seconds);
        lines.add("error", format!("{what} ({ago} s ago, for {lasts} s)"));
    }
    lines.0
}

fn amounts(lines: &mut Lines, amounts: &Amounts) {
    let Amounts { earned, pending, claimable, paid, forfeited, taken } = amounts;
    let named = [
        ("earned", earned),
        ("pending", pending),
        ("claimable", claimable),
        ("paid", paid),
        ("forfeited", forfeited),
        ("taken", taken),
    ];
    for (name, amount) in named {
        lines.add(name, amount.as_deref().map_or("unknown".to_owned(), tokens));
    }
}

fn unsigned_in_words(unsigned: &[Unsigned]) -> String {
    let mut lines = Lines::default();
    if unsigned.is_empty() {
        lines.add("unsigned", "there is nothing that the HP has to sign");
    }
    for one in unsigned {
        lines.add("what", &one.description);
        lines.add("chain", &one.chain_id);
        lines.add("from", &one.from);
        lines.add("to", &one.to);
        lines.add("data", &one.data);
        for link in &one.links {
            lines.add("link", link);
        }
    }
    lines.0
}

#[cfg(test)]
mod tests {
    use agent_api::settlement::{Seen, Standing};

    use super::*;

    #[test]
    fn a_status_is_told_in_lines_and_what_is_not_known_is_called_that() {
        let status = SettlementStatus {
            backend: "reference".to_owned(),
            chain: 5,
            hp_account: "0xhp".to_owned(),
            amounts: Amounts {
                earned: Some("2500000000000000000".to_owned()),
                ..Amounts::default()
            },
            seen: Some(Seen {
                age_seconds: 3,
                standing: Standing::Healthy,
                hp_account: None,
                daemon: None,
                is_bound: false,
                exit_at: None,
                era: None,
                roots: None,
            }),
            alarms: vec!["look".to_owned()],
            ..SettlementStatus::default()
        };
        let text = status_in_words(&status);
        for line in [
            "backend      reference, chain 5\n",
            "earned       2.5\n",
            "paid         unknown\n",
            "on chain     healthy; no daemon key is bound; seen 3 s ago\n",
            "ALARM        look\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn a_transaction_for_the_hp_has_its_data_and_links() {
        let one = Unsigned {
            version: 1,
            chain_id: "0x1".to_owned(),
            from: "0xhp".to_owned(),
            to: "0xto".to_owned(),
            value: "0x0".to_owned(),
            data: "0xdata".to_owned(),
            description: "registers".to_owned(),
            links: vec!["ethereum:0xto@1/register?bytes32=1".to_owned()],
        };
        let text = unsigned_in_words(&[one]);
        assert!(text.contains("0xdata") && text.contains("ethereum:0xto@1/register"), "{text}");
        assert!(unsigned_in_words(&[]).contains("nothing"));
    }
}
