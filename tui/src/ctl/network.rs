//! `icnctl network set`: a port, or what all ports share, set up otherwise, for 120 s unless that is confirmed.

use std::net::IpAddr;

use agent_api::client::AgentClient;
use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use provisioning_config::{BondMode, Direct, IpNet, Proxy};

use super::Step;
use crate::action::Action;
use crate::network::{self, BondWish, NtpWish, Shared, Through, Wish};

/// How a port is to be set up. What is not given has its default; name and time servers, a proxy and a bond
/// stay as they are. With `--dns`, `--ntp` or `--proxy` alone, every port stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct SetArguments {
    /// The port, bond or VLAN, as `icnctl network` calls it; needless for `--dns`, `--ntp` and `--proxy`, which all
    /// ports share.
    port: Option<String>,
    /// Uses DHCP and IPv6 autoconfiguration, beside any address that is given.
    #[arg(long, requires = "port")]
    dhcp: bool,
    /// Leaves it without an address: it only carries VLANs.
    #[arg(long, requires = "port", conflicts_with_all = ["dhcp", "addresses", "gateways"])]
    none: bool,
    /// A static address with its prefix length; may be given again.
    #[arg(long = "address", requires = "port", value_name = "ADDRESS/LENGTH", value_parser = network::net)]
    addresses: Vec<IpNet>,
    /// A gateway, one for IPv4 and one for IPv6.
    #[arg(long = "gateway", requires = "port", value_name = "ADDRESS", value_parser = network::address)]
    gateways: Vec<IpAddr>,
    /// Sets up this VLAN on it; the port itself is left without an address.
    #[arg(long, requires = "port", value_name = "ID")]
    vlan: Option<u16>,
    /// The longest packet in bytes.
    #[arg(long, requires = "port", value_name = "BYTES")]
    mtu: Option<u16>,
    /// A name server; may be given again, and takes the place of those that there are.
    #[arg(long = "dns", value_name = "ADDRESS", value_parser = network::address)]
    dns: Vec<IpAddr>,
    /// A time server, such as ntp.example.net or 192.0.2.1:123; may be given again, and takes the place of those
    /// that there are; none asks none, and default those that DHCP gives and the Debian pool.
    #[arg(long = "ntp", value_name = "HOST")]
    ntp: Vec<String>,
    /// A proxy for oracles and RPC servers, such as http://192.0.2.3:3128, or none.
    #[arg(long, value_name = "URL", value_parser = proxy)]
    proxy: Option<ProxyArgument>,
    /// What is reached without the proxy: a name or a network; may be given again.
    #[arg(long, value_name = "NAME", requires = "proxy", value_parser = network::direct)]
    direct: Vec<Direct>,
    /// Has it work as one with the ports of `--with`.
    #[arg(long, value_enum, requires = "port", requires = "with")]
    bond: Option<BondArgument>,
    /// A port of the bond beside it; may be given again.
    #[arg(long, value_name = "PORT", requires = "bond")]
    with: Vec<String>,
    /// Dissolves the bond.
    #[arg(long, requires = "port", conflicts_with_all = ["bond", "with"])]
    alone: bool,
}

/// How the ports of a bond share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BondArgument {
    /// All at once, as agreed with the switch.
    Lacp,
    /// One of them, another when that has no link.
    ActiveBackup,
}

/// A proxy, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyArgument(Option<Proxy>);

fn proxy(text: &str) -> Result<ProxyArgument, String> {
    match text {
        "none" => Ok(ProxyArgument(None)),
        text => network::proxy(text).map(|proxy| ProxyArgument(Some(proxy))),
    }
}

/// From what was written to the settings to try.
///
/// # Errors
/// The agent does not answer, there is no such port, or the settings would have mistakes.
pub(super) fn set(arguments: &SetArguments, agent: &mut AgentClient) -> Result<Step> {
    let shared = shared(arguments)?;
    let is_addressed = arguments.dhcp || arguments.none || !arguments.addresses.is_empty();
    let is_alone = shared != Shared::default() && !arguments.is_of_port();
    ensure!(
        is_addressed || is_alone,
        "say how it gets its address: --dhcp, --address ADDRESS/LENGTH or --none; only --dns, --ntp and --proxy, \
         which all ports share, can be set alone"
    );
    let status = agent.status()?;
    let system = status.system.context("init does not answer, so the settings are not known")?;
    let base = network::base(&system)?;
    let next = match &arguments.port {
        Some(port) if is_addressed => {
            let wish = wish(arguments, port, shared, &network::current(&base, port, &system.ports));
            network::set(&base, &wish, &system.ports)?
        }
        port => {
            if let Some(port) = port {
                network::check_name(&base, port, &system.ports)?;
            }
            network::set_shared(&base, &shared)?
        }
    };
    Ok(Step::Do(Action::TryNetwork { text: next.to_toml() }))
}

impl SetArguments {
    /// Whether anything is said of a port beside its name.
    fn is_of_port(&self) -> bool {
        let Self { dhcp, none, addresses, gateways, vlan, mtu, bond, with, alone, .. } = self;
        let is_addressed = *dhcp || *none || !(addresses.is_empty() && gateways.is_empty());
        let is_bonded = bond.is_some() || !with.is_empty() || *alone;
        is_addressed || is_bonded || vlan.is_some() || mtu.is_some()
    }
}

fn shared(arguments: &SetArguments) -> Result<Shared> {
    let SetArguments { dns, ntp, proxy, direct, .. } = arguments.clone();
    Ok(Shared {
        dns: (!dns.is_empty()).then_some(dns),
        ntp: time_servers(&ntp)?,
        through: proxy.map(|ProxyArgument(proxy)| Through { proxy, direct }),
    })
}

fn wish(arguments: &SetArguments, port: &str, shared: Shared, now: &Wish) -> Wish {
    let SetArguments { dhcp, addresses, gateways, vlan, mtu, .. } = arguments.clone();
    Wish {
        port: port.to_owned(),
        dhcp,
        addresses,
        gateways,
        mtu,
        vlan: vlan.or(now.vlan),
        bond: bond(arguments, port, now),
        shared,
    }
}

fn time_servers(words: &[String]) -> Result<NtpWish> {
    if words.is_empty() {
        return Ok(NtpWish::Keep);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    network::time_servers(&words).map_err(|error| anyhow!("--ntp: {error}"))
}

fn bond(arguments: &SetArguments, port: &str, now: &Wish) -> BondWish {
    let mode = match arguments.bond {
        Some(BondArgument::Lacp) => BondMode::Lacp,
        Some(BondArgument::ActiveBackup) => BondMode::ActiveBackup,
        None if arguments.alone => return BondWish::Alone,
        None => return BondWish::Keep,
    };
    // A bond is named by itself; what is given then are all of its ports.
    let is_bond = matches!(now.bond, BondWish::With(..));
    let itself = (!is_bond).then(|| port.to_owned());
    BondWish::With(mode, itself.into_iter().chain(arguments.with.iter().cloned()).collect())
}
