//! The power goes at every step of the outbox and beside every send; after that, everything took effect once.

use std::io;
use std::sync::{Arc, Mutex};

use agent_settlement::call::{Call, Wanted};
use agent_settlement::chain::rpc::Rpc;
use agent_settlement::chain::{At, Chain, ChainError, Heads, Sent, Simulated};
use agent_settlement::engine::Engine;
use agent_settlement::outbox::{Backend, Inclusion, Outcome};
use alloy::primitives::{Address, B256, Bytes, keccak256};
use serde_json::json;

use crate::anvil::{Anvil, count_up};
use crate::rig::{Rig, key, setup};

/// Blows after so many uses; after that nothing works.
#[derive(Debug, Clone)]
struct Fuse(Arc<Mutex<usize>>);

impl Fuse {
    fn after(uses: usize) -> Self {
        Self(Arc::new(Mutex::new(uses)))
    }

    /// Whether this use still works.
    fn holds(&self) -> bool {
        let mut left = self.0.lock().expect("no test panicked with it");
        let holds = *left > 0;
        *left = left.saturating_sub(1);
        holds
    }

    fn blown(&self) -> bool {
        *self.0.lock().expect("no test panicked with it") == 0
    }
}

/// What becomes of bytes that were written and not synced.
#[derive(Debug, Clone, Copy)]
enum Unsynced {
    Lost,
    Kept,
    Torn,
}

#[derive(Debug, Default)]
struct Files {
    cached: Option<Vec<u8>>,
    durable: Option<Vec<u8>>,
    aside: Option<Vec<u8>>,
}

/// A file in a cache.
#[derive(Debug, Clone)]
struct Disk {
    files: Arc<Mutex<Files>>,
    fuse: Fuse,
}

impl Disk {
    fn with<T>(&self, act: impl FnOnce(&mut Files) -> T) -> io::Result<T> {
        match self.fuse.holds() {
            true => Ok(act(&mut self.files.lock().expect("no test panicked with it"))),
            false => Err(io::Error::other("no power")),
        }
    }

    /// The disk after the power was gone.
    fn after_cut(self, unsynced: Unsynced) -> Self {
        let mut files = self.files.lock().expect("no test panicked with it");
        let durable = files.durable.clone();
        let left = match (unsynced, &files.cached, durable) {
            (Unsynced::Lost, _, durable) => durable,
            (Unsynced::Kept, cached, _) => cached.clone(),
            (Unsynced::Torn, Some(cached), Some(durable)) => {
                let length = usize::midpoint(durable.len(), cached.len());
                Some(cached[..length].to_vec())
            }
            (Unsynced::Torn, _, durable) => durable,
        };
        (files.cached, files.durable) = (left.clone(), left);
        drop(files);
        Self { files: self.files, fuse: Fuse::after(usize::MAX) }
    }
}

impl Backend for Disk {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.lock().expect("no test panicked with it").cached.clone())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|files| files.cached.as_mut().expect("a file").extend(bytes))
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).expect("it fits");
        self.with(|files| files.cached.as_mut().expect("a file").truncate(length))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.with(|files| files.durable = files.cached.clone())
    }
    fn write_aside(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|files| files.aside = Some(bytes.to_vec()))
    }
    fn sync_aside(&mut self) -> io::Result<()> {
        self.with(|_| ())
    }
    fn rename_aside(&mut self) -> io::Result<()> {
        self.with(|files| files.cached = files.aside.take())
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        self.with(|files| files.durable = files.cached.clone())
    }
    fn set_aside(&mut self) -> io::Result<String> {
        panic!("a power cut is no damage")
    }
}

/// A chain whose line is cut with the power: before a transaction is sent, or after, when its answer is lost.
struct Line {
    rpc: Rpc,
    fuse: Fuse,
}

fn cut() -> ChainError {
    ChainError::NoAnswer { server: "test".to_owned(), method: "any", reason: "no power".to_owned() }
}

impl Chain for Line {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.rpc.chain_id().await
    }
    async fn heads(&self) -> Result<Heads, ChainError> {
        self.rpc.heads().await
    }
    async fn tip_wei(&self) -> Result<u128, ChainError> {
        self.rpc.tip_wei().await
    }
    async fn nonce(&self, of: Address, at: At) -> Result<u64, ChainError> {
        self.rpc.nonce(of, at).await
    }
    async fn balance(&self, of: Address) -> Result<u128, ChainError> {
        self.rpc.balance(of).await
    }
    async fn code(&self, of: Address) -> Result<Bytes, ChainError> {
        self.rpc.code(of).await
    }
    async fn read(&self, to: Address, data: Bytes, at: At) -> Result<Bytes, ChainError> {
        self.rpc.read(to, data, at).await
    }
    async fn simulate(&self, from: Address, call: &Call) -> Result<Simulated, ChainError> {
        self.rpc.simulate(from, call).await
    }
    async fn receipt(&self, hash: B256) -> Result<Option<Inclusion>, ChainError> {
        self.rpc.receipt(hash).await
    }
    async fn known(&self, hash: B256) -> Result<bool, ChainError> {
        self.rpc.known(hash).await
    }
    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        self.rpc.block_hash(number).await
    }
    async fn send(&self, raw: &Bytes) -> Result<Sent, ChainError> {
        if !self.fuse.holds() {
            return Err(cut());
        }
        let sent = self.rpc.send(raw).await?;
        if self.fuse.holds() { Ok(sent) } else { Err(cut()) }
    }
}

/// One life of an engine, until the fuse blows or all is done. `begin` gives the disk as it is left.
async fn live(anvil: &Anvil, disk: Disk, counters: &[u64]) -> Vec<Outcome> {
    let fuse = disk.fuse.clone();
    let line = Line { rpc: anvil.rpc(), fuse: fuse.clone() };
    let Ok(engine) = Engine::open(disk, line, key(), setup()).await else {
        assert!(fuse.blown(), "it opens");
        return Vec::new();
    };
    let mut rig = Rig::around(engine);
    for counter in counters {
        let call = count_up(*counter);
        let digest = keccak256(&call.data);
        if rig.engine.enqueue(Wanted { digest, call }).is_err() {
            assert!(fuse.blown(), "it is taken");
            return Vec::new();
        }
    }
    for _ in 0..40 {
        rig.now.ms += 10_000;
        let report = rig.engine.tick(rig.now).await;
        if fuse.blown() {
            return Vec::new();
        }
        rig.notices.extend(report.expect("it works").notices);
        anvil.mine(1).await;
        if rig.engine.state().open().next().is_none() {
            return rig.outcomes();
        }
    }
    panic!("still open: {:?}", rig.engine.state());
}

/// A life with a power cut after so many operations, a life after it; false if the cut came after the end.
async fn two_lives(anvil: &Anvil, uses: usize, unsynced: Unsynced) -> bool {
    let snapshot = anvil.ask("evm_snapshot", json!([])).await;
    let fuse = Fuse::after(uses);
    let disk = Disk { files: Arc::default(), fuse: fuse.clone() };
    live(anvil, disk.clone(), &[1, 2]).await;
    let blown = fuse.blown();
    // What waited may be mined before the node is back, or not.
    if uses.is_multiple_of(2) {
        anvil.mine(1).await;
    }
    // A caller that was not told that a call is remembered wants it again; one that it is done does not.
    let after = disk.after_cut(unsynced);
    if blown {
        let counters = wanted_again(anvil, &after).await;
        live(anvil, after, &counters).await;
    }
    for counter in [1, 2] {
        assert_eq!(anvil.count(counter).await, 1, "counter {counter}, cut {uses}, {unsynced:?}");
    }
    assert_eq!(anvil.ask("evm_revert", json!([snapshot])).await, json!(true));
    blown
}

/// What its callers want of an engine that starts again: all that they were not told to be final.
async fn wanted_again(anvil: &Anvil, disk: &Disk) -> Vec<u64> {
    let line = Line { rpc: anvil.rpc(), fuse: disk.fuse.clone() };
    let Ok(engine) = Engine::open(disk.clone(), line, key(), setup()).await else {
        panic!("a power cut is no damage");
    };
    let open = |counter: &u64| {
        let digest = keccak256(&count_up(*counter).data);
        engine.state().open().any(|entry| entry.intent.digest == digest)
    };
    let mut wanted = Vec::new();
    for counter in [1, 2] {
        if open(&counter) || anvil.count(counter).await == 0 {
            wanted.push(counter);
        }
    }
    wanted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_power_goes_each_call_takes_effect_once() {
    let anvil = Anvil::start().await;
    let (mut uses, mut cuts) = (0, 0);
    loop {
        let mut blown = false;
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn] {
            blown |= two_lives(&anvil, uses, unsynced).await;
        }
        if !blown {
            break;
        }
        (uses, cuts) = (uses + 1, cuts + 1);
    }
    // Two calls, each with four records of four operations and two sides of a send, and the file's making.
    assert!(cuts >= 40, "{cuts} cuts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_remembered_is_never_sent_later() {
    let anvil = Anvil::start().await;
    // The file's making and the intent are four operations each; the ninth is of what was signed.
    for uses in 8..12 {
        let disk = Disk { files: Arc::default(), fuse: Fuse::after(uses) };
        let engine = Engine::open(disk, anvil.rpc(), key(), setup()).await.expect("it opens");
        let mut rig = Rig::around(engine);
        rig.want(count_up(1));
        for _ in 0..3 {
            rig.now.ms += 600_000;
            assert!(rig.engine.tick(rig.now).await.is_err(), "the disk failed once");
            anvil.mine(1).await;
        }
        assert_eq!(anvil.count(1).await, 0);
        let call = count_up(2);
        let wanted = Wanted { digest: keccak256(&call.data), call };
        assert!(rig.engine.enqueue(wanted).is_err());
    }
}
