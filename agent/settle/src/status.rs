//! What nodes earned and were paid, and how they stand.

use agent_settlement::backend::icn_v5::Icn;
use agent_settlement::backend::{Settlement, Standing};
use agent_settlement::chain::Chain;
use agent_settlement::preflight::Refusal;
use agent_sla::protocol::settled::Verdict;
use alloy::primitives::{Address, B256, U256};
use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use crate::desk::Desk;
use crate::network::{Contracts, Reference, icn};
use crate::now_s;
use crate::oracles::{self, Answers, Final};
use crate::plan::Node;
use crate::say::Report;
use crate::units::{moment, tokens};

/// A node, as it is shown. What is not known is none, and never zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    node: B256,
    standing: &'static str,
    hp: Option<Address>,
    /// Whether it is of the HP who asks; none where the chain does not say.
    yours: Option<bool>,
    daemon: Option<Address>,
    /// The key from the next era but one on, where it is another.
    daemon_next: Option<Change>,
    exit_at: Option<u64>,
    collateral: Option<U256>,
    /// Since its beginning, by the newest root that proves it.
    earned: Option<U256>,
    /// Earned, and not final yet.
    pending: Option<U256>,
    /// Earned, unpaid, and final.
    claimable: Option<U256>,
    paid: Option<U256>,
    /// Forfeited since its beginning, by the newest root that proves it.
    forfeited: Option<U256>,
    /// Of that, taken from collateral.
    penalties_taken: Option<U256>,
    root: Option<Root>,
    /// Eras of that root in which something was forfeited, with what the oracles found.
    penalties: Vec<Verdict>,
    /// What could not be found out, or is not believed.
    problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    daemon: Option<Address>,
    from_era: u64,
    at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Root {
    number: u64,
    to_era: u64,
    final_at: u64,
    is_final: bool,
}

/// What is shown of a node of our contracts.
fn row(
    node: &Node,
    hp: Address,
    next: (u64, u64),
    answers: &Answers,
    block_s: u64,
    problems: Vec<String>,
) -> Row {
    let proven = answers.newest.as_ref();
    let registered = node.hp.is_some();
    let changes = node.daemon_next != node.daemon;
    let earned = proven.map(|proven| proven.earned.leaf.cumulativeReward);
    let last_final = match &answers.last_final {
        Final::Unknown => None,
        Final::Nothing => Some(U256::ZERO),
        Final::Proven(proven) => Some(proven.earned.leaf.cumulativeReward),
    };
    // Not final, or paid already, whichever reaches further.
    let reached = last_final.map(|earned| earned.max(node.paid));
    let root = proven.map(|proven| Root {
        number: proven.earned.root,
        to_era: proven.earned.leaf.toEra,
        final_at: proven.earned.final_at,
        is_final: block_s >= proven.earned.final_at,
    });
    let penalties = proven.map(|proven| proven.eras.iter().filter(|era| era.penalty > U256::ZERO));
    Row {
        node: node.id,
        standing: words(node.standing),
        hp: node.hp,
        yours: node.hp.map(|found| found == hp),
        daemon: node.daemon,
        daemon_next: changes.then_some(Change {
            daemon: node.daemon_next,
            from_era: next.0,
            at: next.1,
        }),
        exit_at: node.exit_at,
        collateral: registered.then_some(node.collateral),
        earned,
        pending: earned.zip(reached).map(|(earned, reached)| earned.saturating_sub(reached)),
        claimable: last_final.map(|earned| earned.saturating_sub(node.paid)),
        paid: registered.then_some(node.paid),
        forfeited: proven.map(|proven| proven.earned.leaf.cumulativePenalty),
        penalties_taken: registered.then_some(node.taken),
        root,
        penalties: penalties.into_iter().flatten().cloned().collect(),
        problems,
    }
}

fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::Unknown => "not registered",
        Standing::Registered => "registered",
        Standing::Healthy => "healthy",
        Standing::Booked => "booked",
        Standing::Warned => "warned",
        Standing::RewardsHeld => "rewards held",
        Standing::Slashing => "slashing",
        Standing::Rejected => "rejected",
        Standing::Offboarded => "offboarded",
    }
}

impl Row {
    fn lines(&self) -> Vec<String> {
        let amount = |amount: Option<U256>| amount.map_or("not known".to_owned(), tokens);
        let key = |key: Option<Address>| key.map_or("none".to_owned(), |key| key.to_string());
        let mut lines = vec![format!("node {}: {}", self.node, self.standing)];
        match (self.hp, self.yours) {
            (Some(hp), Some(false)) => lines.push(format!("  not yours: its HP is {hp}")),
            (Some(hp), _) => lines.push(format!("  HP          {hp}")),
            (None, _) => {}
        }
        lines.push(format!("  daemon key  {}", key(self.daemon)));
        if let Some(Change { daemon, from_era, at }) = &self.daemon_next {
            lines.push(format!(
                "              {} from era {from_era}, {}",
                key(*daemon),
                moment(*at)
            ));
        }
        if let Some(at) = self.exit_at {
            lines.push(format!("  leaves      collateral can be withdrawn from {} on", moment(at)));
        }
        lines.push(format!("  collateral  {}", amount(self.collateral)));
        lines.push(format!("  earned      {}", amount(self.earned)));
        if let Some(Root { number, to_era, final_at, is_final }) = &self.root {
            let state = if *is_final { "final since" } else { "final at" };
            lines.push(format!(
                "              root {number}, to era {to_era}, {state} {}",
                moment(*final_at)
            ));
        }
        lines.push(format!("  pending     {}", amount(self.pending)));
        lines.push(format!("  claimable   {}", amount(self.claimable)));
        lines.push(format!("  paid        {}", amount(self.paid)));
        lines.push(format!(
            "  penalties   {}, of which taken {}",
            amount(self.forfeited),
            amount(self.penalties_taken)
        ));
        for era in &self.penalties {
            let found = match era.median {
                Some(median) => format!("{} of {} checks passed", median.passed, median.issued),
                None => "too few votes".to_owned(),
            };
            lines.push(format!(
                "              era {}: {}: {found}, {} vote(s)",
                era.era,
                tokens(era.penalty),
                era.votes
            ));
        }
        lines.extend(self.problems.iter().map(|problem| format!("  ! {problem}")));
        lines
    }
}

impl<C: Chain + Clone> Desk<C> {
    /// All of them, one after the other.
    pub(crate) async fn status(&self, nodes: &[B256]) -> Result<Report> {
        let survey = self.survey(now_s()?).await?;
        let mut warnings = Vec::new();
        for refusal in &survey.refusals {
            match refusal {
                // To look costs nothing, and needs no clock.
                Refusal::NoFunds(_) | Refusal::Skew { .. } => warnings.push(refusal.to_string()),
                Refusal::NoHp => {}
                other => bail!("{other}"),
            }
        }
        let mut rows = Vec::new();
        match self.network.contracts {
            Contracts::Reference(contracts) => {
                let at = survey.heads.latest.time;
                let all = oracles::leaves(self, &contracts, nodes, at).await?;
                for (id, answers) in all {
                    rows.push(self.of_ours(&contracts, id, &answers, at).await?);
                }
            }
            Contracts::Icn { .. } => {
                for id in nodes {
                    rows.push(self.of_icn(*id).await?);
                }
            }
        }
        let mut lines: Vec<String> = rows.iter().flat_map(Row::lines).collect();
        lines.extend(warnings.iter().map(|warning| format!("! {warning}")));
        let json = json!({
            "chain": self.network.chain(), "block": survey.heads.latest.number,
            "at": survey.heads.latest.time, "nodes": rows, "warnings": warnings,
        });
        Ok(Report { lines, json })
    }

    async fn of_ours(
        &self,
        contracts: &Reference,
        id: B256,
        answers: &Answers,
        block_s: u64,
    ) -> Result<Row> {
        let node = self.node(contracts, id).await?;
        let next = self.next_era_but_one(contracts).await?;
        let mut problems: Vec<_> = answers.errors.iter().map(ToString::to_string).collect();
        if self.network.oracles.is_empty() {
            problems.push("the description of the network names no oracle to ask".to_owned());
        } else if answers.newest.is_none() {
            problems.push("no oracle proves anything that it earned".to_owned());
        }
        Ok(row(&node, self.hp, next, answers, block_s, problems))
    }

    async fn of_icn(&self, id: B256) -> Result<Row> {
        let Contracts::Icn { chain, protocol, version } = self.network.contracts else {
            bail!("these contracts are our own");
        };
        let backend = Icn::new(icn(chain, self.hp, protocol, version), self.chain.clone());
        let status = backend.status(id).await?;
        let rewards = backend.rewards(id).await?;
        let of_delegators = rewards.of_delegators.filter(|amount| *amount > U256::ZERO);
        let problems =
            of_delegators.map(|amount| format!("delegators get {} besides", tokens(amount)));
        Ok(Row {
            node: id,
            standing: words(status.standing),
            hp: status.hp,
            yours: status.hp.map(|found| found == self.hp),
            daemon: status.daemon,
            daemon_next: None,
            exit_at: status.exit_at,
            collateral: None,
            earned: None,
            pending: None,
            claimable: rewards.claimable,
            paid: rewards.paid,
            forfeited: None,
            penalties_taken: None,
            root: None,
            penalties: Vec::new(),
            problems: problems.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use agent_settlement::abi::messages::Leaf;
    use agent_sla::protocol::parameters::Era;
    use agent_sla::protocol::settled::Median;

    use super::*;
    use crate::oracles::Proven;
    use crate::plan::Earned;

    const HP: Address = Address::repeat_byte(0x48);

    fn node() -> Node {
        Node {
            id: B256::repeat_byte(7),
            standing: Standing::Warned,
            hp: Some(HP),
            daemon: Some(HP),
            daemon_next: None,
            exit_at: None,
            paid: U256::from(10),
            taken: U256::from(1),
            collateral: U256::from(5),
            deposited: U256::from(6),
        }
    }

    fn proven() -> Proven {
        let leaf = Leaf {
            nodeId: node().id,
            toEra: 3,
            cumulativeReward: U256::from(25),
            cumulativePenalty: U256::from(2),
            votesHash: B256::ZERO,
        };
        let median =
            Median { issued: 4, passed: 1, latency_us: 0, bytes_per_second: 0, proven_bytes: 0 };
        let era = |number, penalty| Verdict {
            era: Era(number),
            votes: 3,
            median: Some(median),
            reward: U256::ZERO,
            penalty: U256::from(penalty),
        };
        let eras = vec![era(2, 2), era(3, 0)];
        Proven {
            earned: Earned { root: 9, leaf, final_at: 100 },
            root: B256::ZERO,
            proof: Vec::new(),
            eras,
        }
    }

    fn answers(newest: Option<Proven>, last_final: Final) -> Answers {
        Answers { newest, last_final, errors: Vec::new() }
    }

    #[test]
    fn what_is_not_final_is_pending_and_what_is_can_be_claimed() {
        let at = |block_s, last_final| {
            let answers = answers(Some(proven()), last_final);
            row(&node(), HP, (5, 60), &answers, block_s, Vec::new())
        };
        let number = |number: u64| Some(U256::from(number));
        let before = at(99, Final::Nothing);
        assert_eq!((before.pending, before.claimable), (number(15), number(0)));
        let mut older = proven();
        older.earned.leaf.cumulativeReward = U256::from(18);
        let between = at(99, Final::Proven(Box::new(older)));
        assert_eq!((between.pending, between.claimable), (number(7), number(8)));
        let unknown = at(99, Final::Unknown);
        assert_eq!((unknown.earned, unknown.pending, unknown.claimable), (number(25), None, None));
        let after = at(100, Final::Proven(Box::new(proven())));
        assert_eq!((after.pending, after.claimable), (number(0), number(15)));
        assert_eq!((after.penalties.len(), after.forfeited), (1, number(2)));
        let text = after.lines().join("\n");
        assert!(text.contains("era 2: 0.000000000000000002 ICNT: 1 of 4 checks passed, 3 vote(s)"));
        assert!(text.contains("none from era 5, 1970-01-01T00:01:00Z"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        let unknown = Node { hp: None, standing: Standing::Unknown, ..node() };
        let answers = answers(None, Final::Unknown);
        let row = row(&unknown, HP, (5, 60), &answers, 100, vec!["why".to_owned()]);
        assert_eq!((row.earned, row.pending, row.claimable, row.paid), (None, None, None, None));
        let text = row.lines().join("\n");
        assert!(text.contains("not registered") && text.contains("earned      not known"));
        assert!(text.contains("  ! why") && !text.contains(" 0 ICNT"), "{text}");
    }
}
