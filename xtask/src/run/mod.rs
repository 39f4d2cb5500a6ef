//! `cargo xtask run`: the image in a virtual machine, as it runs on hardware: firmware, USB stick,
//! four blank disks of different kinds, a network port, two serial lines.

mod accel;
mod check;
mod heard;
mod machine;
mod oracles;
mod qmp;
mod seed;

use std::env;
use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub(crate) use accel::Accel;

use crate::clients;
use crate::deps::{self, Need};
use crate::image::{self, Compression};
use crate::layout::Layout;
use crate::step;
use crate::tools::Tools;
use machine::{Machine, Setup};
use oracles::Oracles;
use seed::User;

/// How long the machine may take from power-on until S3 answers: five times what an emulated one
/// takes here on two busy cores.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long it may take to shut down before it is switched off.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// How often a running machine is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long to wait after a question to S3 that had no answer; each costs the time of a client's
/// start, which the emulated processor lacks.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(500);

/// Arguments of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Begin with new blank disks instead of those of the last run.
    #[arg(long)]
    fresh: bool,

    /// End after the first object was stored and read back.
    #[arg(long)]
    once: bool,

    /// Port of this machine, on 127.0.0.1, that leads to the node's S3.
    #[arg(long, default_value_t = 9443)]
    port: u16,

    /// Memory of the machine in MiB.
    #[arg(long, default_value_t = 1024)]
    memory: u32,

    /// Hardware virtualisation or emulation.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    accel: Accel,

    /// Start no SLA oracles beside the machine.
    #[arg(long)]
    no_oracles: bool,

    /// Settle on no chain.
    #[arg(long)]
    no_chain: bool,

    /// How long an era of the oracles is, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(20..=86_400))]
    era: u32,

    /// Compress the image as for release.
    #[arg(long)]
    release: bool,
}

/// `cargo xtask run`.
///
/// # Errors
///
/// When the image cannot be built, the machine does not serve S3 in time, or gives back other
/// bytes than were stored.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(&[Need::Compile, Need::Image, Need::Machine, Need::Client, Need::Contracts])?;
    let layout = Layout::find()?;
    let compression = if args.release { Compression::Release } else { Compression::Fast };
    let built = image::build(&layout, compression)?;
    let client = clients::ensure(&layout)?.join("bin/s5cmd");

    let tools = if args.no_oracles { None } else { Some(Tools::build(&layout)?) };
    let chain = tools.as_ref().filter(|_| !args.no_chain).map(|tools| tools.chain(&layout));
    let chain = chain.transpose()?;

    let place = Place::take(&layout, args.fresh)?;
    check_port(args.port)?;
    let user = User::kept_in(&place.dir)?;
    let accel = args.accel.decide(&built.image_dir, &place.dir)?;
    let stop = stop_signals()?;
    let setup = Setup { image: &built.image_dir, port: args.port, memory_mib: args.memory, accel };
    let mut node_toml = user.node_toml();
    let mut oracles = None;
    if let Some(tools) = tools {
        let started = Oracles::start(tools.oracle(), chain, &place.dir, args.era)?;
        node_toml.push_str(&started.node_toml(args.port));
        oracles = Some(started);
    }
    let mut machine = Machine::start(&setup, &node_toml)?;
    let done = serve(&mut machine, &stop, args, &user, &client, &place, oracles.as_mut());
    let ended = machine.power_off(STOP_LIMIT, &stop);
    done.and(ended)
}

/// From power-on to the wish to stop.
fn serve(
    machine: &mut Machine,
    stop: &AtomicBool,
    args: &Args,
    user: &User,
    client: &Path,
    place: &Place,
    mut oracles: Option<&mut Oracles>,
) -> Result<()> {
    let s3 = check::Client::new(client, args.port, user);
    let started = Instant::now();
    println!("the machine is on ({}); {}", machine.accel(), place.console());
    step::timed("start until S3 answers", || wait(machine, stop, &s3, started))?;
    let took = started.elapsed();
    step::timed("one object there and back", || s3.there_and_back(&place.dir))?;
    println!(
        "\nS3 answers after {:.1} s\n\n  endpoint    {}   (self-signed certificate)\n  \
         access key  {}\n  secret key  {}\n\n  {}\n\n  console     {}\n  log         {}\n",
        took.as_secs_f32(),
        s3.endpoint(),
        user.access_key,
        user.secret_key,
        s3.example(),
        place.console(),
        place.dir.join(machine::LOG).display(),
    );
    if let Some(oracles) = &oracles {
        println!("{}", oracles.words());
    }
    if args.once {
        return Ok(());
    }
    println!("up until Ctrl-C");
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = machine.ended()? {
            println!("the machine has switched itself off ({status})");
            return Ok(());
        }
        if let Some(oracles) = &mut oracles {
            for said in oracles.tend(Path::new(machine::LOG))? {
                println!("{said}");
            }
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Waits until S3 answers a signed request.
fn wait(
    machine: &mut Machine,
    stop: &AtomicBool,
    s3: &check::Client,
    started: Instant,
) -> Result<()> {
    loop {
        let answer = s3.answers();
        if let Some(status) = machine.ended()? {
            bail!("the machine ended before S3 answered ({status})\n{}", machine.diagnosis());
        }
        match answer {
            Ok(()) => return Ok(()),
            Err(_) if stop.load(Ordering::Relaxed) => bail!("stopped before S3 answered"),
            Err(error) if started.elapsed() > START_LIMIT => bail!(
                "S3 did not answer within {} s: {error:#}\n{}",
                START_LIMIT.as_secs(),
                machine.diagnosis()
            ),
            Err(_) => thread::sleep(BETWEEN_QUESTIONS),
        }
    }
}

/// The directory of the machine, held by this process alone.
struct Place {
    dir: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the directory and makes it the current one: the names of sockets stay short wherever
    /// it is, as a socket's path has at most 107 characters.
    fn take(layout: &Layout, fresh: bool) -> Result<Self> {
        let dir = layout.target.join("run");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join("lock");
        let lock =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another `cargo xtask run` of this workspace is up: end it with Ctrl-C, or set \
                 CARGO_TARGET_DIR to run a second machine beside it"
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        machine::refuse_leftover(&dir)?;
        if fresh {
            machine::remove_state(&dir)?;
        }
        env::set_current_dir(&dir).with_context(|| format!("cannot enter {}", dir.display()))?;
        Ok(Self { dir, _lock: lock })
    }

    /// The command that shows the console.
    fn console(&self) -> String {
        format!(
            "(cd {} && socat -,raw,echo=0,escape=0x1d unix-connect:{})   leave with Ctrl-]",
            self.dir.display(),
            machine::CONSOLE
        )
    }
}

fn check_port(port: u16) -> Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map(drop)
        .with_context(|| format!("port {port} of 127.0.0.1 is taken: choose another with --port"))
}

fn stop_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .with_context(|| format!("cannot handle signal {signal}"))?;
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_with_what_to_do() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = format!("{:#}", check_port(port).unwrap_err());
        assert!(error.contains("--port"), "{error}");
        drop(holder);
        check_port(port).unwrap();
    }
}
