//! The HP's command line: from wallet to payout. It runs on the HP's own machine; the HP's key is on no node.

mod abi;
mod act;
mod args;
mod binding;
mod consent;
mod deed;
mod desk;
mod direct;
mod dispute;
mod files;
mod form;
mod keystore;
mod network;
mod offline;
mod oracles;
mod plan;
mod quote;
mod say;
mod send;
mod status;
mod tree;
mod units;
mod wishes;

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use agent_settlement::chain::Chain;
use agent_settlement::chain::checked::Checked;
use agent_settlement::chain::http::{Server, public_tls};
use agent_settlement::chain::rpc::Rpc;
use agent_settlement::preflight::Refusal;
use alloy::primitives::Address;
use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;

use act::act;
use args::{Acting, Arguments, Command, Net, Wait};
use deed::Deed;
use desk::Desk;
use direct::Unfinished;
use form::{SignedFile, UnsignedFile};
use network::{Network, RPC_MAX};
use say::{Report, note};
use wishes::BindingFrom;

/// What a command ends with that stopped waiting for what is under way.
const UNFINISHED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match run(&arguments).and_then(|report| report.print(json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let words = words(&error);
            if json {
                let json = json!({ "error": words });
                let _unwritten = Report { lines: Vec::new(), json }.print(true);
            }
            note(&format!("icn-settle: {words}"));
            match error.downcast_ref::<Unfinished>() {
                Some(_) => ExitCode::from(UNFINISHED),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// An error with what is behind it, each once.
fn words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for behind in error.chain() {
        let more = behind.to_string();
        if !words.contains(&more) {
            let between = if words.is_empty() { "" } else { ": " };
            words = format!("{words}{between}{more}");
        }
    }
    words
}

fn run(arguments: &Arguments) -> Result<Report> {
    let Arguments { command, net, .. } = arguments;
    if let Command::Key(command) = command {
        return offline::key(command);
    }
    let path = net.network.as_deref().context("say which network: --network FILE")?;
    let network = Network::read(path)?;
    if let Command::Sign { file, out, key, yes } = command {
        return offline::sign(&network, file, out, key, *yes);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(connected(command, net, network))
}

/// Goes on with one server, or two that are compared.
async fn connected(command: &Command, net: &Net, network: Network) -> Result<Report> {
    let urls = if net.rpc.is_empty() { &network.rpc } else { &net.rpc };
    let tls = public_tls().context("cannot set up TLS")?;
    let server = |url: &String| Ok(Rpc::new(Server::new(url, &tls)?));
    let mut servers = urls.iter().map(server).collect::<Result<Vec<_>>>()?.into_iter();
    match (servers.next(), servers.next(), servers.next()) {
        (Some(first), None, None) => with(command, net, network, first).await,
        (Some(first), Some(second), None) => {
            with(command, net, network, Checked::new(first, second)).await
        }
        (None, ..) => {
            bail!("say where the chain is: `rpc` in the description of the network, or --rpc")
        }
        _ => bail!("{} RPC servers: at most {RPC_MAX} are possible", urls.len()),
    }
}

async fn with<C: Chain + Clone>(
    command: &Command,
    net: &Net,
    network: Network,
    chain: C,
) -> Result<Report> {
    if let Command::Send { file, unsigned, wait } = command {
        return send_file(&network, &chain, file, unsigned.as_deref(), *wait).await;
    }
    let hp = hp(command, net, &network)?;
    let desk = Desk { network, hp, chain };
    match command {
        Command::Status { nodes } => desk.status(&desk.many(nodes)?).await,
        Command::Register { label, acting } => act(&desk, acting, |_| desk.register(*label)).await,
        Command::Bind { binding, daemon, node, consent, payer, acting } => {
            let from = BindingFrom { file: binding.as_deref(), daemon: *daemon, node: *node };
            match consent {
                None => act(&desk, acting, |_| desk.bind(&from, None)).await,
                Some(path) => {
                    let consented = (hp, path.as_path());
                    let desk = Desk { hp: self::payer(*payer, acting)?, ..desk };
                    act(&desk, acting, |_| desk.bind(&from, Some(consented))).await
                }
            }
        }
        Command::Consent { binding, daemon, out } => {
            let from = BindingFrom { file: binding.as_deref(), daemon: *daemon, node: None };
            desk.consent(&from, out).await
        }
        Command::Revoke { node, acting } => {
            let node = desk.one(node)?;
            act(&desk, acting, |_| desk.revoke(node)).await
        }
        Command::Deposit { node, amount, acting } => {
            let node = desk.one(node)?;
            act(&desk, acting, |_| desk.deposit(node, *amount)).await
        }
        Command::Claim { nodes, leaf, begun, acting } => {
            let desk = &desk;
            let wish = async |survey| desk.claim(nodes, leaf, *begun, &survey).await;
            act(desk, acting, wish).await
        }
        Command::Exit { node, acting } => {
            let node = desk.one(node)?;
            act(&desk, acting, |_| desk.exit(node)).await
        }
        Command::Withdraw { node, acting } => {
            let (desk, node) = (&desk, desk.one(node)?);
            let wish = async |survey| desk.withdraw(node, &survey).await;
            act(desk, acting, wish).await
        }
        Command::Dispute(command) => {
            let desk = &desk;
            let wish = async |survey| desk.dispute(command, &survey).await;
            act(desk, command.acting(), wish).await
        }
        Command::Sign { .. } | Command::Send { .. } | Command::Key(_) => {
            bail!("this command needs no account")
        }
    }
}

/// The HP: as it is said, or described, or as the keystore says; for looking, anyone.
fn hp(command: &Command, net: &Net, network: &Network) -> Result<Address> {
    let keystore = match command {
        // With a consent, the keystore is another's.
        Command::Bind { consent: Some(_), .. } | Command::Consent { .. } => None,
        Command::Register { acting, .. }
        | Command::Bind { acting, .. }
        | Command::Revoke { acting, .. }
        | Command::Deposit { acting, .. }
        | Command::Claim { acting, .. }
        | Command::Exit { acting, .. }
        | Command::Withdraw { acting, .. } => acting.key.keystore.as_deref(),
        Command::Dispute(command) => command.acting().key.keystore.as_deref(),
        Command::Status { nodes } if nodes.label.is_empty() => {
            return Ok(net.hp.or(network.hp).unwrap_or(Address::ZERO));
        }
        Command::Status { .. } | Command::Sign { .. } | Command::Send { .. } | Command::Key(_) => {
            None
        }
    };
    let said = match (net.hp.or(network.hp), keystore) {
        (Some(said), _) => Some(said),
        (None, Some(path)) => keystore::account(&files::keystore(path)?)?,
        (None, None) => None,
    };
    match said {
        Some(Address::ZERO) => bail!(Refusal::NoHp),
        Some(hp) => Ok(hp),
        None => bail!("say whose nodes: --hp, or `hp_account` in the description of the network"),
    }
}

/// Who sends what the HP consented to.
fn payer(said: Option<Address>, acting: &Acting) -> Result<Address> {
    let named = match &acting.key.keystore {
        Some(path) => keystore::account(&files::keystore(path)?)?,
        None => None,
    };
    said.or(named)
        .context("say which account sends it: --payer, or a keystore that names its account")
}

async fn send_file<C: Chain>(
    network: &Network,
    chain: &C,
    file: &Path,
    unsigned: Option<&Path>,
    wait: Wait,
) -> Result<Report> {
    let known = SignedFile::parse(&files::text(file, form::FILE_MAX)?, network.chain())?;
    if let Some(path) = unsigned {
        UnsignedFile::parse(&files::text(path, form::FILE_MAX)?, network.chain())?.is(&known)?;
    }
    let found = chain.chain_id().await?;
    if found != network.chain() {
        bail!(Refusal::OtherChain { expected: network.chain(), found });
    }
    let mut lines = Vec::new();
    for one in &known {
        let deed = Deed::read(network, one.to, &one.data)?;
        lines.extend(deed.words());
    }
    lines.iter().for_each(|line| note(line));
    let done = send::all(chain, &known, wait).await?;
    let rows: Vec<_> =
        done.iter().map(|one| json!({ "hash": one.hash, "block": one.block })).collect();
    lines.extend(done.iter().filter_map(|one| one.hash).map(|hash| format!("done: {hash}")));
    Ok(Report { lines, json: json!({ "transactions": rows, "sent": true }) })
}

/// Seconds since 1970.
fn now_s() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("the clock is before 1970: set it")?.as_secs())
}
