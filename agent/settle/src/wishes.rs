//! What each command wants of the chain.

use std::path::Path;

use agent_settlement::backend::icn_v5::Icn;
use agent_settlement::backend::reference::Reference as Backend;
use agent_settlement::backend::{ClaimOf, Settlement, SignedBinding};
use agent_settlement::chain::Chain;
use agent_sla::protocol::settled::DaemonBinding;
use alloy::primitives::{Address, B256, U256};
use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::act::Wish;
use crate::args::{Nodes, OneNode};
use crate::binding::{self, Expected};
use crate::consent;
use crate::desk::{Desk, Survey};
use crate::files;
use crate::network::{Contracts, Reference, icn};
use crate::now_s;
use crate::oracles::{self, Answers, Final};
use crate::plan::{self, Refused, node_id};
use crate::say::{Report, note};
use crate::units::moment;

/// The longest file with a leaf, in bytes: 168 eras of 300 bytes, and a proof.
const LEAF_FILE_MAX: u64 = 128 << 10;

/// A binding that is in a file, or to be fetched.
#[derive(Debug)]
pub(crate) struct BindingFrom<'a> {
    pub file: Option<&'a std::path::Path>,
    pub daemon: Option<Address>,
    pub node: Option<B256>,
}

impl<C: Chain + Clone> Desk<C> {
    /// Our contracts; of others this is not possible.
    pub(crate) fn ours(&self) -> Result<Reference> {
        match self.network.contracts {
            Contracts::Reference(reference) => Ok(reference),
            Contracts::Icn { .. } => bail!(
                "the ICN protocol has no call for this that is public: use ICN's own page; status and claim are possible"
            ),
        }
    }

    pub(crate) fn one(&self, node: &OneNode) -> Result<B256> {
        match (node.node, node.label) {
            (Some(node), _) => Ok(node),
            (None, Some(label)) => Ok(node_id(self.hp, label)),
            (None, None) => bail!("name a node: --node or --label"),
        }
    }

    pub(crate) fn many(&self, nodes: &Nodes) -> Result<Vec<B256>> {
        if nodes.count()? == 0 {
            bail!("name a node: --node or --label");
        }
        let labels = nodes.label.iter().map(|label| node_id(self.hp, *label));
        let mut all: Vec<B256> = nodes.node.iter().copied().chain(labels).collect();
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|node| seen.insert(*node));
        Ok(all)
    }

    async fn effect(&self, contracts: &Reference) -> Result<String> {
        let (era, at) = self.next_era_but_one(contracts).await?;
        Ok(format!("in effect from era {era} on, which begins at {}", moment(at)))
    }

    pub(crate) async fn register(&self, label: B256) -> Result<Wish> {
        let contracts = self.ours()?;
        let id = node_id(self.hp, label);
        let node = self.node(&contracts, id).await?;
        let step = self.backend(&contracts).register(label)?;
        let plan = plan::register(&self.network, &contracts, &node, step)?;
        Ok(Wish { plan, follows: vec![format!("the chain calls this node {id}")] })
    }

    /// Binds a daemon key: sent by the HP, or by another with the HP's consent.
    pub(crate) async fn bind(
        &self,
        from: &BindingFrom<'_>,
        consented: Option<(Address, &Path)>,
    ) -> Result<Wish> {
        let contracts = self.ours()?;
        let hp = consented.map_or(self.hp, |(hp, _)| hp);
        let (message, mut signed) = self.binding(&contracts, from, hp).await?;
        let mut follows = vec![self.effect(&contracts).await?];
        if let Some((_, path)) = consented {
            let mut consent = consent::parse(&files::text(path, consent::FILE_MAX)?)?;
            // An HP that is a contract is asked by the registry.
            if self.chain.code(hp).await?.is_empty() {
                let domain = (contracts.chain, contracts.settlement);
                consent = consent::check(&consent, domain, &message)?;
            }
            signed.hp = Some(consent);
            follows.push(format!("sent by {}, by the consent of the HP {hp}", self.hp));
        }
        let node = self.node(&contracts, signed.binding.nodeId).await?;
        let taken = self.bound_to(&contracts, signed.binding.daemonAddress).await?;
        let backend = Backend::new(contracts.network(hp), self.chain.clone());
        let plan =
            plan::bind(&self.network, &contracts, &node, &signed, taken, backend.bind(&signed)?)?;
        if let Some(before) = node.daemon_next {
            follows.push(format!("until then the node signs with {before}"));
        }
        Ok(Wish { plan, follows })
    }

    /// Writes what the HP's wallet signs to consent to a binding.
    pub(crate) async fn consent(&self, from: &BindingFrom<'_>, out: &Path) -> Result<Report> {
        let contracts = self.ours()?;
        let (message, _) = self.binding(&contracts, from, self.hp).await?;
        let (typed, digest) = consent::typed_data(contracts.chain, contracts.settlement, &message);
        let text = serde_json::to_string_pretty(&typed).context("cannot write the file")?;
        files::write_new(out, &text)?;
        let lines = vec![
            format!("the HP {} consents that the daemon key {}", self.hp, message.daemonAddress),
            format!("signs for the node {}", message.nodeId),
            format!("nothing is signed; to be signed (eth_signTypedData_v4): {}", out.display()),
            format!("digest {digest}"),
        ];
        Ok(Report { lines, json: json!({ "typedData": typed, "digest": digest }) })
    }

    /// A binding, compared with what it should be; as it was read, and as it is sent.
    async fn binding(
        &self,
        contracts: &Reference,
        from: &BindingFrom<'_>,
        hp: Address,
    ) -> Result<(DaemonBinding, SignedBinding)> {
        let signed = match (from.file, from.daemon) {
            (Some(path), _) => binding::parse(&files::text(path, binding::FILE_MAX)?)?,
            (None, Some(daemon)) => self.fetched(contracts, daemon).await?,
            (None, None) => bail!("say where the binding is: --binding or --daemon"),
        };
        let expected = Expected {
            chain: contracts.chain,
            settlement: contracts.settlement,
            hp,
            node: from.node,
            daemon: from.daemon,
            now_s: now_s()?,
        };
        let checked = binding::check(&signed, &expected)?;
        Ok((signed.message, checked))
    }

    async fn fetched(
        &self,
        contracts: &Reference,
        daemon: Address,
    ) -> Result<agent_sla::protocol::settled::SignedBinding> {
        if self.network.oracles.is_empty() {
            bail!(
                "the description of the network names no oracle to ask: add [[oracle]], or use --binding"
            );
        }
        let (found, errors) = oracles::binding(&self.network, contracts, daemon).await;
        errors.iter().for_each(|error| note(&error.to_string()));
        match found {
            Some(binding) => Ok(binding),
            None => bail!(
                "no oracle has a binding of {daemon}: see that the node speaks with them, or use --binding"
            ),
        }
    }

    pub(crate) async fn revoke(&self, node: B256) -> Result<Wish> {
        let contracts = self.ours()?;
        let node = self.node(&contracts, node).await?;
        let plan = plan::revoke(&self.network, &contracts, &node, self.hp)?;
        Ok(Wish { plan, follows: vec![self.effect(&contracts).await?] })
    }

    pub(crate) async fn exit(&self, node: B256) -> Result<Wish> {
        let contracts = self.ours()?;
        let node = self.node(&contracts, node).await?;
        let step = self.backend(&contracts).exit(node.id)?;
        let plan = plan::exit(&self.network, &contracts, &node, self.hp, step)?;
        let at = now_s()?.saturating_add(self.exit_delay(&contracts).await?);
        let follows = vec![format!("collateral can be withdrawn from about {} on", moment(at))];
        Ok(Wish { plan, follows })
    }

    pub(crate) async fn deposit(&self, node: B256, amount: U256) -> Result<Wish> {
        let contracts = self.ours()?;
        let node = self.node(&contracts, node).await?;
        let tokens = self.tokens(&contracts, contracts.vault).await?;
        let plan = plan::deposit(&self.network, &contracts, &node, self.hp, amount, tokens)?;
        Ok(Wish { plan, follows: Vec::new() })
    }

    pub(crate) async fn withdraw(&self, node: B256, survey: &Survey) -> Result<Wish> {
        let contracts = self.ours()?;
        let node = self.node(&contracts, node).await?;
        let at = survey.heads.latest.time;
        let plan = plan::withdraw(&self.network, &contracts, &node, self.hp, at)?;
        Ok(Wish { plan, follows: Vec::new() })
    }

    /// Claims for nodes that have something to be claimed; the others are named.
    pub(crate) async fn claim(
        &self,
        nodes: &Nodes,
        files: &[std::path::PathBuf],
        begun: Option<U256>,
        survey: &Survey,
    ) -> Result<Wish> {
        if let Contracts::Icn { .. } = self.network.contracts {
            return self.claim_of_icn(nodes, files, begun);
        }
        if begun.is_some() {
            bail!("--begun is of ICN's protocol: claims of these contracts are one step");
        }
        let contracts = self.ours()?;
        let at = survey.heads.latest.time;
        let mut claims = Vec::new();
        for path in files {
            let text = files::text(path, LEAF_FILE_MAX)?;
            let settled: agent_sla::protocol::settled::Settled = serde_json::from_str(&text)?;
            let node = settled.leaf.nodeId;
            let mut answers = Answers::default();
            let name = path.display().to_string();
            answers.take(self, &contracts, &name, node, settled).await?;
            answers.settle(at);
            claims.push((node, answers));
        }
        if files.is_empty() {
            if self.network.oracles.is_empty() {
                bail!(
                    "the description of the network names no oracle to ask: add [[oracle]], or use --leaf"
                );
            }
            claims = oracles::leaves(self, &contracts, &self.many(nodes)?, at).await?;
        }
        let (mut plan, mut refused) = (Vec::new(), Vec::new());
        for (id, answers) in claims {
            answers.errors.iter().for_each(|error| note(&error.to_string()));
            let (proven, at) = match (answers.last_final, answers.newest) {
                // The chain said so, perhaps in a newer block than was looked at first.
                (Final::Proven(proven), _) => {
                    let at = at.max(proven.earned.final_at);
                    (*proven, at)
                }
                // It is said when it will be.
                (Final::Nothing | Final::Unknown, Some(newest)) => (newest, at),
                (Final::Nothing | Final::Unknown, None) => {
                    refused.push(format!("no oracle proves anything that node {id} earned"));
                    continue;
                }
            };
            let node = self.node(&contracts, id).await?;
            let (root, leaf, proof) = (proven.root, proven.earned.leaf.clone(), proven.proof);
            let of = ClaimOf::Leaf { id: proven.earned.root, root, leaf, proof };
            let step = self.backend(&contracts).claim(&of)?;
            match plan::claim(&self.network, &node, self.hp, &proven.earned, step, at) {
                Ok(planned) => plan.push(planned),
                // No time changes whose a node is: the command is wrong.
                Err(error @ (Refused::OtherHp { .. } | Refused::NotRegistered(_))) => bail!(error),
                Err(error) => refused.push(error.to_string()),
            }
        }
        if plan.is_empty() {
            bail!("there is nothing to claim: {}", refused.join("; "));
        }
        refused.iter().for_each(|line| note(line));
        Ok(Wish { plan, follows: vec![format!("paid to the HP account {}", self.hp)] })
    }

    fn claim_of_icn(
        &self,
        nodes: &Nodes,
        files: &[std::path::PathBuf],
        begun: Option<U256>,
    ) -> Result<Wish> {
        let Contracts::Icn { chain, protocol, version } = self.network.contracts else {
            bail!("these contracts are our own");
        };
        if !files.is_empty() {
            bail!("the ICN protocol has no leaves: name nodes by their numbers");
        }
        let backend = Icn::new(icn(chain, self.hp, protocol, version), self.chain.clone());
        let (of, follows) = match begun {
            Some(index) => (ClaimOf::Begun(index), Vec::new()),
            None => {
                let follows =
                    "when the protocol's delay is over, run claim --begun with the claim's index";
                (ClaimOf::Nodes(self.many(nodes)?), vec![follows.to_owned()])
            }
        };
        let plan = vec![plan::planned(&self.network, backend.claim(&of)?)?];
        Ok(Wish { plan, follows })
    }
}
