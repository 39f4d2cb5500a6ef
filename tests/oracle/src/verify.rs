//! `reference-oracle verify`.

use std::path::PathBuf;

use agent_sla::Reader;
use agent_sla::protocol::B256;
use anyhow::{Context as _, Result, bail};
use reference_oracle::settle::SettleConfig;
use reference_oracle::settle::net::Net;
use reference_oracle::settle::verify::{Finding, Rules, Verifier};
use reference_oracle::setup::parameters;

/// What is verified, and by what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The era up to whose root everything is computed anew.
    #[arg(long)]
    era: u64,
    /// The parameters of the network, JSON or TOML.
    #[arg(long)]
    parameters: PathBuf,
    /// RPC servers and tariff, as for `serve`; its keys and peers are not used.
    #[arg(long)]
    settlement: PathBuf,
    /// An oracle's folder; nothing in it is changed.
    #[arg(long, required_unless_present = "oracle", conflicts_with = "oracle")]
    data: Option<PathBuf>,
    /// An oracle whose votes are fetched, as https://HOST:PORT,sha256:CERTIFICATE; may be given more than once.
    #[arg(long)]
    oracle: Vec<String>,
}

/// Computes, compares, and prints a line for each root; an error where one differs.
pub(crate) fn command(args: Args) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(args))
}

async fn run(args: Args) -> Result<()> {
    let parameters = parameters(&args.parameters)?;
    let SettleConfig { chain, tariff, disputes, .. } =
        SettleConfig::read(&args.settlement, &parameters, None)?;
    let net = Net::new(chain, &parameters);
    let rules = Rules::read(parameters, tariff, net, disputes).await?;
    let scratch = tempfile::tempdir().context("cannot make a folder for what is fetched")?;
    let verifier = match &args.data {
        Some(data) => {
            let folder = data.join("settle");
            if !folder.join("roots").is_dir() {
                bail!("{} has no roots: name the folder of an oracle that settles", data.display());
            }
            Verifier::of_folder(&folder, rules)?
        }
        None => {
            let readers: Vec<Reader> =
                args.oracle.iter().map(|text| reader(text)).collect::<Result<_>>()?;
            Verifier::of_oracles(scratch.path(), &readers, rules).await?
        }
    };
    let findings = verifier.up_to(args.era).await?;
    if findings.is_empty() {
        bail!("no root on chain has era {}", args.era);
    }
    for finding in &findings {
        println!("{}", words(finding));
    }
    match findings.iter().find(|finding| finding.difference.is_some()) {
        Some(finding) => bail!("root {} is not what its votes come to", finding.number),
        None => Ok(()),
    }
}

fn words(finding: &Finding) -> String {
    let eras = match finding.eras {
        Some((from, to)) => format!("eras {from} to {to}"),
        None => "eras unknown".to_owned(),
    };
    let found = finding.difference.as_deref().unwrap_or("equal");
    let mut line = format!("root {} {} {eras}: {found}", finding.number, finding.digest);
    if !finding.void_since.is_empty() {
        line.push_str(&format!("; {} of its votes were voided since", finding.void_since.len()));
    }
    line
}

fn reader(text: &str) -> Result<Reader> {
    let wrong = || format!("{text}: write https://HOST:PORT,sha256:CERTIFICATE");
    let (url, certificate) = text.split_once(',').with_context(wrong)?;
    let digits = certificate.strip_prefix("sha256:").unwrap_or(certificate);
    let pinned: B256 = digits.parse().with_context(wrong)?;
    Ok(Reader::new(url, url, pinned)?)
}
