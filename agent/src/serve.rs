//! Host mode: S3 from folders of this machine.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_object_store::{Class, FileStore, FileStoreConfig, Owner, PoolId, Volume, VolumeId};
use agent_s3::{S3Config, S3Server, User};
use anyhow::{Context, Result, anyhow, bail};
use tokio_util::sync::CancellationToken;

use crate::arguments::{ServeArguments, UserArgument};
use crate::drain::drained;
use crate::listen;
use crate::state::{Identity, Keeper, Surroundings};
use crate::tls::Tls;

/// The pool, and the owner of the certificate: all folders below one `--dir` are one store.
const POOL: &str = "host";

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
    let store: Arc<FileStore> = FileStore::open(FileStoreConfig::new(PoolId::new(POOL)?)).into();
    for (id, path) in &folders {
        let volume = Volume { id: VolumeId::new(id)?, path: path.clone(), class: Class::Ssd };
        store.attach(volume).await.with_context(|| format!("cannot use {}", path.display()))?;
    }
    let tls = if arguments.tls { Some(tls(&folders)?) } else { None };
    let config = S3Config { users, region: arguments.region, domains: arguments.domains };
    let server = S3Server::new(store, config).context("cannot set up S3")?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {scheme}://{address}").and_then(|()| out.flush()).context("stdout")?;
    drop(out);
    let config = tls.as_ref().map(Tls::config);
    drained(server.serve(listener, config, cancel.clone()), &cancel)
        .await
        .context("S3 stopped serving")
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

/// TLS with a certificate that stays the same from run to run.
fn tls(folders: &[(String, PathBuf)]) -> Result<Tls> {
    let mounts: Vec<_> = folders.iter().map(|(_, path)| path.clone()).collect();
    let surroundings = Surroundings { node_id: POOL.to_owned(), absent: Vec::new() };
    let held = Keeper::new(String::new()).look(&mounts, &surroundings);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let tls = Tls::start(Path::new(""), None, "", now)?;
    match held.identity {
        Identity::Known(state) => tls.use_kept(&state),
        Identity::Awaited(why) => bail!("no certificate: {why}"),
    }
    Ok(tls)
}
