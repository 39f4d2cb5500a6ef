//! `icnctl network set`: a port set up otherwise, for 120 s unless that is confirmed.

use std::net::IpAddr;

use agent_api::client::AgentClient;
use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use provisioning_config::{BondMode, Direct, IpNet, Proxy};

use super::Step;
use crate::action::Action;
use crate::network::{self, BondWish, NtpWish, Through, Wish};

/// How a port is to be set up. What is not given has its default; name and time servers, a proxy and a bond
/// stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct SetArguments {
    /// The port, bond or VLAN, as `icnctl network` calls it.
    port: String,
    /// Uses DHCP and IPv6 autoconfiguration, beside any address that is given.
    #[arg(long)]
    dhcp: bool,
    /// Leaves it without an address: it only carries VLANs.
    #[arg(long, conflicts_with_all = ["dhcp", "addresses", "gateways"])]
    none: bool,
    /// A static address with its prefix length; may be given again.
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", value_parser = network::net)]
    addresses: Vec<IpNet>,
    /// A gateway, one for IPv4 and one for IPv6.
    #[arg(long = "gateway", value_name = "ADDRESS", value_parser = network::address)]
    gateways: Vec<IpAddr>,
    /// Sets up this VLAN on it; the port itself is left without an address.
    #[arg(long, value_name = "ID")]
    vlan: Option<u16>,
    /// The longest packet in bytes.
    #[arg(long, value_name = "BYTES")]
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
    #[arg(long, value_enum, requires = "with")]
    bond: Option<BondArgument>,
    /// A port of the bond beside it; may be given again.
    #[arg(long, value_name = "PORT", requires = "bond")]
    with: Vec<String>,
    /// Dissolves the bond.
    #[arg(long, conflicts_with_all = ["bond", "with"])]
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
    let is_told = arguments.dhcp || arguments.none || !arguments.addresses.is_empty();
    ensure!(is_told, "say how it gets its address: --dhcp, --address ADDRESS/LENGTH or --none");
    let status = agent.status()?;
    let system = status.system.context("init does not answer, so the settings are not known")?;
    let base = network::base(&system)?;
    let now = network::current(&base, &arguments.port, &system.ports);
    let SetArguments {
        port, dhcp, addresses, gateways, vlan, mtu, dns, ntp, proxy, direct, ..
    } = arguments.clone();
    let wish = Wish {
        port,
        dhcp,
        addresses,
        gateways,
        mtu,
        vlan: vlan.or(now.vlan),
        bond: bond(arguments, &now),
        dns: (!dns.is_empty()).then_some(dns),
        ntp: time_servers(&ntp)?,
        through: proxy.map(|ProxyArgument(proxy)| Through { proxy, direct }),
    };
    let next = network::set(&base, &wish, &system.ports)?;
    Ok(Step::Do(Action::TryNetwork { text: next.to_toml() }))
}

fn time_servers(words: &[String]) -> Result<NtpWish> {
    if words.is_empty() {
        return Ok(NtpWish::Keep);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    network::time_servers(&words).map_err(|error| anyhow!("--ntp: {error}"))
}

fn bond(arguments: &SetArguments, now: &Wish) -> BondWish {
    let mode = match arguments.bond {
        Some(BondArgument::Lacp) => BondMode::Lacp,
        Some(BondArgument::ActiveBackup) => BondMode::ActiveBackup,
        None if arguments.alone => return BondWish::Alone,
        None => return BondWish::Keep,
    };
    // A bond is named by itself; what is given then are all of its ports.
    let is_bond = matches!(now.bond, BondWish::With(..));
    let itself = (!is_bond).then(|| arguments.port.clone());
    BondWish::With(mode, itself.into_iter().chain(arguments.with.iter().cloned()).collect())
}
