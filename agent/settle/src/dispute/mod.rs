//! Evidence against oracles and roots: read, compared with itself and with the chain, and shown to `Disputes`.

pub(crate) mod abi;
pub(crate) mod args;
pub(crate) mod deed;
mod evidence;

use std::path::Path;

use agent_settlement::abi::messages::domain;
use agent_settlement::abi::reference::{
    Disputes, EraManager, OracleRegistry, SlaSettlement, Terms,
};
use agent_settlement::chain::Chain;
use agent_sla::protocol::messages::KeptReceipt;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::settled::Settled;
use agent_sla::protocol::signed::{Signed, SlaVote};
use alloy::primitives::{Address, B256, Bytes, U256, aliases::U96};
use alloy::sol_types::{Eip712Domain, SolCall};
use anyhow::{Result, bail};

use self::args::{DisputeCommand, Question};
use self::evidence::{EvidenceError, FILE_MAX, Hidden, Posted, Refutation};
use crate::abi::Token;
use crate::act::Wish;
use crate::desk::{Desk, Survey, seconds};
use crate::files;
use crate::network::Reference;
use crate::oracles::reader;
use crate::plan::{Planned, Refused, own, probe, unlinked};
use crate::units::{moment, tokens};

/// Gas for a receipt that cannot be simulated, as the bond is not allowed yet: twice what the contracts' own test
/// measures (docs/design/settlement.md, 222,131).
const RECEIPT_GAS: u64 = 450_000;

/// What is called in errors of its answers.
const CONTRACT: &str = "Disputes";

/// `Disputes`, and what it belongs to.
#[derive(Debug, Clone)]
struct Court {
    contracts: Reference,
    disputes: Address,
    domain: Eip712Domain,
}

/// An open question.
#[derive(Debug, Clone, Copy)]
struct Open {
    challenger: Address,
    bond: U256,
    answer_by: u64,
    receipts_root: B256,
}

impl Court {
    /// A call of it.
    fn call<C>(&self, desk: &Desk<C>, call: &impl SolCall) -> Result<Planned, Refused> {
        unlinked(&desk.network, self.disputes, call.abi_encode())
    }
}

impl<C: Chain + Clone> Desk<C> {
    fn court(&self) -> Result<Court> {
        let contracts = self.ours()?;
        let Some(disputes) = contracts.disputes else {
            bail!("the description of the network lacks `disputes`: add it");
        };
        let domain = domain(contracts.chain, contracts.settlement);
        Ok(Court { contracts, disputes, domain })
    }

    /// What a command of disputes calls, or why not.
    pub(crate) async fn dispute(&self, command: &DisputeCommand, survey: &Survey) -> Result<Wish> {
        let court = self.court()?;
        let block_s = survey.heads.latest.time;
        match command {
            DisputeCommand::Equivocation { file, .. } => self.equivocation(&court, file).await,
            DisputeCommand::Receipt { receipt, vote, oracle, .. } => {
                let text = files::text(receipt, FILE_MAX)?;
                let kept = evidence::receipt(&text, *oracle)?;
                let votes = match vote {
                    Some(path) => evidence::votes(&files::text(path, FILE_MAX)?)?,
                    None => self.votes(&kept).await?,
                };
                let vote = evidence::vote_on(votes, &kept)?;
                let hidden = evidence::hidden(vote, kept, &court.domain)?;
                self.receipt(&court, &hidden, block_s).await
            }
            DisputeCommand::Answer { question, receipts, .. } => {
                let text = files::text(receipts, FILE_MAX)?;
                let digests = evidence::digests(&text, &court.domain)?;
                self.answer(&court, *question, digests, block_s).await
            }
            DisputeCommand::Close { question, .. } => self.close(&court, *question, block_s).await,
            DisputeCommand::Refute { leaves, .. } => {
                let read = |path: &std::path::PathBuf| -> Result<Settled> {
                    Ok(evidence::leaf(&files::text(path, FILE_MAX)?)?)
                };
                let leaves = leaves.iter().map(read).collect::<Result<Vec<_>>>()?;
                self.refute(&court, &evidence::refutation(leaves)?, block_s).await
            }
        }
    }

    async fn equivocation(&self, court: &Court, file: &Path) -> Result<Wish> {
        let found = evidence::equivocation(&files::text(file, FILE_MAX)?, &court.domain)?;
        let oracle = found.first.message.oracleId;
        let (bond, jailed) = self.stake(court, oracle).await?;
        if jailed && bond == U256::ZERO {
            bail!("the oracle {oracle} signs no more and has no stake left: it was shown before");
        }
        self.must_slash(court).await?;
        let call = Disputes::showEquivocationCall {
            first: found.first.message.clone(),
            firstSignature: Bytes::from(found.first.signature.0.to_vec()),
            second: found.second.message.clone(),
            secondSignature: Bytes::from(found.second.signature.0.to_vec()),
        };
        let plan = vec![court.call(self, &call)?];
        let reward = share(bond, self.terms(court).await?.rewardBps);
        let follows = vec![format!(
            "its stake is {}, of which {} are paid to {}",
            tokens(bond),
            tokens(reward),
            self.hp
        )];
        Ok(Wish { plan, follows })
    }

    /// Stake of an oracle in the token's smallest unit, and whether its signatures count no more. Refuses an account that
    /// was never an oracle: evidence against it is none.
    async fn stake(&self, court: &Court, oracle: Address) -> Result<(U256, bool)> {
        let at = self.ask(CONTRACT, court.disputes, &Disputes::oraclesCall {}).await?;
        let found = self.ask("OracleRegistry", at, &OracleRegistry::oraclesCall { oracle }).await?;
        if found.lastSet == 0 {
            bail!(
                "nothing is signed: {oracle} was never an oracle of this network (OracleRegistry {at}), so its votes count nowhere: take the votes of an oracle, or correct the description of the network"
            );
        }
        Ok((wide(found.bond), found.jailed))
    }

    async fn terms(&self, court: &Court) -> Result<Terms> {
        self.ask(CONTRACT, court.disputes, &Disputes::termsCall {}).await
    }

    /// Asks the oracle of a receipt for its votes on the node, unverified.
    async fn votes(&self, kept: &KeptReceipt) -> Result<Vec<Signed<SlaVote>>> {
        let oracle = kept.oracle;
        let Some(described) = self.network.oracles.iter().find(|one| one.address == oracle) else {
            bail!(
                "the description of the network has no oracle {oracle} to ask for its vote: add it, or use --vote"
            );
        };
        let request = &kept.request.message;
        // What lies behind the node id before this one begins with it.
        let before = U256::from_be_bytes(request.nodeId.0).checked_sub(U256::from(1));
        let votes = reader(described)?.votes(Era(request.era), before.map(B256::from)).await?;
        Ok(votes.into_iter().filter(|vote| vote.message.nodeId == request.nodeId).collect())
    }

    async fn receipt(&self, court: &Court, hidden: &Hidden, block_s: u64) -> Result<Wish> {
        let Hidden { vote, kept, vote_digest, receipt_digest, at_once } = hidden;
        let (vote_digest, receipt_digest) = (*vote_digest, *receipt_digest);
        let (contracts, disputes) = (&court.contracts, court.disputes);
        let terms = self.terms(court).await?;
        let era = vote.message.era;
        let current =
            self.ask("EraManager", contracts.eras, &EraManager::currentEraCall {}).await?;
        if current > era {
            let end =
                self.ask("EraManager", contracts.eras, &EraManager::endOfCall { era }).await?;
            let until = seconds(end).saturating_add(terms.evidenceAge.into());
            evidence::in_time(era, current, until, block_s)?;
        } else {
            bail!(EvidenceError::Early(era));
        }
        let question =
            Disputes::askedCall { voteDigest: vote_digest, receiptDigest: receipt_digest };
        let voided = Disputes::voidedCall { voteDigest: vote_digest };
        if self.ask(CONTRACT, disputes, &voided).await? {
            bail!("the vote is void already: the next root is made without it");
        }
        if self.ask(CONTRACT, disputes, &question).await? {
            bail!(
                "this was asked before: when the time to answer is over, run `icn-settle dispute close`"
            );
        }
        self.stake(court, vote.message.oracleId).await?;
        let call = Disputes::showReceiptCall {
            vote: vote.message.clone(),
            voteSignature: Bytes::from(vote.signature.0.to_vec()),
            request: kept.request.message.clone(),
            receipt: kept.receipt.message.clone(),
            receiptSignature: Bytes::from(kept.receipt.signature.0.to_vec()),
        };
        let mut show = court.call(self, &call)?;
        show.call.probe = probe(disputes, &question, 0, U256::from(1));
        let digests = format!("--vote {vote_digest} --receipt {receipt_digest}");
        if *at_once {
            self.must_slash(court).await?;
            let follows = vec![
                "decided at once: the vote cannot be true, and no bond is taken".to_owned(),
                format!("the vote is void: {vote_digest}"),
            ];
            return Ok(Wish { plan: vec![show], follows });
        }
        self.takes_our_token(court).await?;
        let bond = wide(terms.bond);
        let mut plan = self.bond(court, bond).await?;
        show.gas = (!plan.is_empty()).then_some(RECEIPT_GAS);
        plan.push(show);
        let answer_by = block_s.saturating_add(terms.answerWindow.into());
        let mut follows = vec![
            format!(
                "takes a bond of {}, which is lost if the oracle shows the receipt",
                tokens(bond)
            ),
            format!(
                "it may answer until about {}; then: icn-settle dispute close {digests}",
                moment(answer_by)
            ),
        ];
        if !self.may_slash(court).await? {
            follows.push(
                "Disputes may slash nobody now: while that stays so, closing gives the bond back alone, and the vote is not void"
                    .to_owned(),
            );
        }
        Ok(Wish { plan, follows })
    }

    /// That the bond is of the token that the description names.
    async fn takes_our_token(&self, court: &Court) -> Result<()> {
        let token = self.ask(CONTRACT, court.disputes, &Disputes::tokenCall {}).await?;
        if token != court.contracts.token {
            bail!(
                "no bond is paid: Disputes takes the token {token}, and the description of the network names {}: correct it",
                court.contracts.token
            );
        }
        Ok(())
    }

    /// Whether oracles can be slashed, without which no question is closed.
    async fn may_slash(&self, court: &Court) -> Result<bool> {
        let oracles = self.ask(CONTRACT, court.disputes, &Disputes::oraclesCall {}).await?;
        let role =
            self.ask("OracleRegistry", oracles, &OracleRegistry::SLASHER_ROLECall {}).await?;
        let may = OracleRegistry::hasRoleCall { role, account: court.disputes };
        self.ask("OracleRegistry", oracles, &may).await
    }

    /// That oracles can be slashed, without which no vote becomes void.
    async fn must_slash(&self, court: &Court) -> Result<()> {
        match self.may_slash(court).await? {
            true => Ok(()),
            false => bail!(
                "nothing is signed: Disputes ({}) may slash nobody now, and refuses what is decided at once: ask who governs the network, and show it again when it may",
                court.disputes
            ),
        }
    }

    /// Allows a bond to be taken, where that is not allowed yet.
    async fn bond(&self, court: &Court, bond: U256) -> Result<Vec<Planned>> {
        let (token, spender) = (court.contracts.token, court.disputes);
        let (balance, allowance) = self.tokens(&court.contracts, spender).await?;
        if balance < bond {
            bail!(Refused::TooFewTokens { has: balance, wants: bond });
        }
        if allowance >= bond {
            return Ok(Vec::new());
        }
        let data = Token::approveCall { spender, value: bond }.abi_encode();
        let arguments = vec![("address", spender.to_string()), ("uint256", bond.to_string())];
        let mut allow = own(&self.network, token, data, "approve", arguments)?;
        let question = Token::allowanceCall { owner: self.hp, spender };
        allow.call.probe = probe(token, &question, 0, bond);
        Ok(vec![allow])
    }

    /// An open question; none where it was never asked, or is over.
    async fn question(&self, court: &Court, question: Question) -> Result<Open> {
        let Question { vote, receipt } = question;
        let asked = Disputes::questionsCall { voteDigest: vote, receiptDigest: receipt };
        let found = self.ask(CONTRACT, court.disputes, &asked).await?;
        if found.challenger == Address::ZERO {
            bail!(
                "nothing is asked for the receipt {receipt} of the vote {vote}: it never was, or it is over"
            );
        }
        Ok(Open {
            challenger: found.challenger,
            bond: wide(found.bond),
            answer_by: found.answerBy.to(),
            receipts_root: found.receiptsRoot,
        })
    }

    async fn answer(
        &self,
        court: &Court,
        question: Question,
        digests: Vec<B256>,
        block_s: u64,
    ) -> Result<Wish> {
        let open = self.question(court, question).await?;
        if block_s > open.answer_by {
            bail!("it could be answered until {}: it is too late", moment(open.answer_by));
        }
        evidence::answers(&digests, open.receipts_root, question.receipt)?;
        let call = Disputes::answerCall {
            voteDigest: question.vote,
            receiptDigest: question.receipt,
            receipts: digests,
        };
        let plan = vec![court.call(self, &call)?];
        let follows = vec![format!("the bond of {} goes to the oracle's stake", tokens(open.bond))];
        Ok(Wish { plan, follows })
    }

    async fn close(&self, court: &Court, question: Question, block_s: u64) -> Result<Wish> {
        let open = self.question(court, question).await?;
        if block_s <= open.answer_by {
            bail!("it may be answered until {}: close it then", moment(open.answer_by));
        }
        let Question { vote, receipt } = question;
        // Where the vote is void already, nobody is slashed for it.
        let voided = Disputes::voidedCall { voteDigest: vote };
        let may_close =
            self.may_slash(court).await? || self.ask(CONTRACT, court.disputes, &voided).await?;
        if !may_close && open.bond == U256::ZERO {
            bail!(
                "the bond was taken back, and Disputes ({}) may not slash oracles, without which the question is not closed: ask who governs the network",
                court.disputes
            );
        }
        let (method, data) = match may_close {
            true => (
                "close",
                Disputes::closeCall { voteDigest: vote, receiptDigest: receipt }.abi_encode(),
            ),
            false => (
                "takeBack",
                Disputes::takeBackCall { voteDigest: vote, receiptDigest: receipt }.abi_encode(),
            ),
        };
        let arguments = vec![("bytes32", vote.to_string()), ("bytes32", receipt.to_string())];
        let plan = vec![own(&self.network, court.disputes, data, method, arguments)?];
        let mut follows = Vec::new();
        if open.bond > U256::ZERO {
            follows.push(format!(
                "the bond of {} goes back to {}",
                tokens(open.bond),
                open.challenger
            ));
        }
        if !may_close {
            follows.push(
                "the vote is not void yet, as Disputes may not slash oracles now: close the question once it may".to_owned(),
            );
        }
        Ok(Wish { plan, follows })
    }

    async fn refute(&self, court: &Court, found: &Refutation, block_s: u64) -> Result<Wish> {
        let mut posted = Vec::new();
        for (settled, _) in found.leaves() {
            let Some(root) = self.posted(court, settled.number).await? else {
                bail!(EvidenceError::OtherRoot(settled.number));
            };
            posted.push(root);
        }
        found.check(&posted, &court.domain, block_s)?;
        let planned = match found {
            Refutation::Era(one) => {
                let call = Disputes::refuteEraCall {
                    rootId: U256::from(one.number),
                    root: one.root.clone(),
                    leaf: one.leaf.clone(),
                    proof: one.proof.clone(),
                };
                court.call(self, &call)?
            }
            Refutation::Twice(two) => {
                let [first, second] = &**two;
                let call = Disputes::refuteTwiceCall {
                    rootId: U256::from(first.number),
                    root: first.root.clone(),
                    first: first.leaf.clone(),
                    firstProof: first.proof.clone(),
                    second: second.leaf.clone(),
                    secondProof: second.proof.clone(),
                };
                court.call(self, &call)?
            }
            Refutation::Course(two) => {
                let [before, after] = &**two;
                let call = Disputes::refuteCourseCall {
                    beforeId: U256::from(before.number),
                    before: before.leaf.clone(),
                    beforeProof: before.proof.clone(),
                    rootId: U256::from(after.number),
                    root: after.root.clone(),
                    leaf: after.leaf.clone(),
                    proof: after.proof.clone(),
                };
                court.call(self, &call)?
            }
        };
        let follows = vec!["the oracles post another root for the same eras".to_owned()];
        Ok(Wish { plan: vec![planned], follows })
    }

    /// A root that stands; none where there is none of this number.
    async fn posted(&self, court: &Court, id: u64) -> Result<Option<Posted>> {
        const NAME: &str = "SlaSettlement";
        let Some((_, final_at)) = self.root(&court.contracts, id).await? else { return Ok(None) };
        let question = SlaSettlement::rootAtCall { id: U256::from(id) };
        let found = self.ask(NAME, court.contracts.settlement, &question).await?;
        Ok(Some(Posted {
            digest: found.digest,
            root: found.root,
            reward: wide(found.reward),
            penalty: wide(found.penalty),
            is_full: found.penalty == U96::MAX,
            final_at,
        }))
    }
}

/// An amount of a contract.
fn wide(amount: U96) -> U256 {
    U256::from(amount)
}

/// A share in ten-thousandths, rounded down.
fn share(of: U256, bps: u16) -> U256 {
    of.saturating_mul(U256::from(bps)) / U256::from(10_000)
}
