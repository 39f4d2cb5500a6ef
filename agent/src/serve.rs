//! Host mode: S3 from folders of this machine.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_object_store::{Class, Engine, EngineConfig, Owner, PoolId, Volume, VolumeId};
use agent_s3::{S3Config, S3Server, User};
use anyhow::{Context, Result, anyhow, bail};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::arguments::{ServeArguments, UserArgument};
use crate::drain::{close, drained};
use crate::listen;
use crate::memory;
use crate::metrics;
use crate::state::{Identity, Keeper, NodeState, Surroundings};
use crate::tls::Tls;

/// The pool, and the owner of the certificate: all folders below one `--dir` are one store.
const POOL: &str = "host";

/// How long folders that were there before, and are not handed over now, are waited for: not at all,
/// but all others are to be read first.
const SETTLE: Duration = Duration::from_secs(5);

/// How often it is told what the store waits for.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Serves until `cancel`.
///
/// # Errors
/// When a folder cannot be used, the port is taken, or a user is wrong; in words.
pub(crate) async fn run(arguments: ServeArguments, cancel: CancellationToken) -> Result<()> {
    let users = users(&arguments.users)?;
    let folders = folders(&arguments.dir, arguments.disks)?;
    let listener = listen::bind(arguments.listen)
        .await
        .map_err(|error| anyhow!(listen::why(arguments.listen, &error)))?;
    let address = listener.local_addr().context("the socket has no address")?;
    let state = state(&folders)?;
    let mut config =
        EngineConfig::new(PoolId::new(POOL)?, state.pool_key.clone()).with_io(arguments.io)?;
    // All folders are handed over at once.
    (config.founding, config.settle) = (Duration::ZERO, SETTLE);
    config.body_memory = memory::for_bodies();
    let store = Engine::open(config);
    tokio::select! {
        attached = attach(&store, &folders) => attached?,
        () = cancel.cancelled() => {
            close(&store).await;
            return Ok(());
        }
    }
    let tls = if arguments.tls { Some(tls(&state)?) } else { None };
    let config = S3Config { users, region: arguments.region, domains: arguments.domains };
    let server = S3Server::new(Arc::new(store.clone()), config).context("cannot set up S3")?;
    if let Some(address) = arguments.metrics {
        let (store, server) = (store.clone(), server.clone());
        tokio::spawn(async move {
            let read = move || {
                let (store, s3) = (store.clone(), Some(server.requests()));
                async move {
                    metrics::Facts {
                        pool: Some(store.status().await),
                        s3,
                        ..metrics::Facts::default()
                    }
                }
            };
            metrics::serve(metrics::listen(address).await, read).await;
        });
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {scheme}://{address}").and_then(|()| out.flush()).context("stdout")?;
    drop(out);
    let config = tls.as_ref().map(Tls::config);
    let served = drained(server.serve(listener, config, cancel.clone()), &cancel).await;
    close(&store).await;
    served.context("S3 stopped serving")
}

/// Attaches the folders side by side; they wait for each other.
async fn attach(store: &Engine, folders: &[(String, PathBuf)]) -> Result<()> {
    let volume = |(id, path): &(String, PathBuf)| {
        Ok(Volume { id: VolumeId::new(id)?, path: path.clone(), class: class(path) })
    };
    let volumes = folders.iter().map(volume).collect::<Result<Vec<_>>>()?;
    let mut attaching = std::pin::pin!(store.attach_all(volumes));
    let mut telling = interval(TELL_EVERY);
    telling.reset();
    loop {
        tokio::select! {
            attached = &mut attaching => {
                return attached.map(drop).context("cannot use the folders");
            }
            _ = telling.tick() => if let Some(reason) = store.awaited() {
                warn!(reason, "the store is not open yet");
            }
        }
    }
}

/// How fast the disk of a folder is, as the kernel says it; SSD where it says nothing.
fn class(path: &Path) -> Class {
    let Ok(meta) = fs::metadata(path) else { return Class::Ssd };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    // A partition has no queue of its own; its disk, the folder above, has.
    let queue = ["queue/rotational", "../queue/rotational"];
    let rotational = queue.iter().find_map(|file| fs::read_to_string(device.join(file)).ok());
    match rotational.as_deref().map(str::trim) {
        Some("1") => Class::Hdd,
        _ => Class::Ssd,
    }
}

fn users(arguments: &[UserArgument]) -> Result<Vec<User>> {
    let user = |argument: &UserArgument| {
        Ok(User {
            name: Owner::new(&argument.name)?,
            access_key: argument.access_key.clone(),
            secret_key: argument.secret_key.clone(),
        })
    };
    arguments.iter().map(user).collect()
}

/// The folders that stand for disks, made where they are not there.
fn folders(dir: &Path, disks: u16) -> Result<Vec<(String, PathBuf)>> {
    let folder = |number: u16| {
        let name = format!("disk-{number}");
        let path = dir.join(&name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok((name, path))
    };
    (1..=disks).map(folder).collect()
}

/// What the folders keep beside objects: the pool's key, and a certificate that stays the same from
/// run to run.
fn state(folders: &[(String, PathBuf)]) -> Result<Arc<NodeState>> {
    let mounts: Vec<_> = folders.iter().map(|(_, path)| path.clone()).collect();
    let surroundings =
        Surroundings { node_id: POOL.to_owned(), absent: Vec::new(), is_early: false };
    match Keeper::new(String::new()).look(&mounts, &surroundings, &|_| ()).identity {
        Identity::Known(state) => Ok(state),
        Identity::Awaited(why) => bail!("no key and certificate: {why}"),
    }
}

fn tls(state: &NodeState) -> Result<Tls> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let tls = Tls::start(Path::new(""), None, "", now)?;
    tls.use_kept(state);
    Ok(tls)
}
