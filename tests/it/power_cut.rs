//! The power goes at any instant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use e2e::dice::noise;
use e2e::disks::Bus;
use e2e::machine::Setup;
use e2e::rack::Rack;
use e2e::s3::S3;
use e2e::stick::node_toml;

/// How often the power is cut, each time with a fresh stream of objects.
const CUTS: u64 = 3;

/// Clients that write at once.
const CLIENTS: u64 = 4;

/// What was acknowledged: the body by its key, `None` where a delete was.
type Acknowledged = BTreeMap<String, Option<Vec<u8>>>;

#[test]
fn a_power_cut_during_puts_loses_nothing_acknowledged() -> Result<()> {
    let rack = Rack::new("power-cut-")?;
    let disks = [rack.blank("CUT00001", Bus::Virtio, 4)?, rack.blank("CUT00002", Bus::Nvme, 4)?];
    let setup = Setup::new(&rack.stick("stick.img", &node_toml())?, &disks);
    let mut acknowledged = Acknowledged::new();
    for cut in 0..CUTS {
        let mut node = rack.boot(&setup)?;
        let (s3, _) = node.wait_for_s3("cut")?;
        check(&s3, &acknowledged)?;
        // Not the same instant each time, and told by the seed's name below.
        let run = Duration::from_millis(1500 + 700 * cut);
        let stream = Stream::start(&s3, cut);
        std::thread::sleep(run);
        stream.wait_for_one();
        node.cut_power();
        let written = stream.finish();
        println!("cut {cut} after {run:?}: {} acknowledged", written.len());
        assert!(!written.is_empty(), "the stream wrote nothing before cut {cut}");
        acknowledged.extend(written);
    }
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("cut")?;
    check(&s3, &acknowledged)?;
    node.power_off()?;
    Ok(())
}

/// Every acknowledged write reads back whole; every acknowledged delete stays.
fn check(s3: &S3, acknowledged: &Acknowledged) -> Result<()> {
    let listed = s3.keys("cut")?;
    for (key, body) in acknowledged {
        let answer = s3.get("cut", key)?;
        match body {
            Some(body) => {
                assert_eq!(answer.status, 200, "{key} was acknowledged and is gone");
                assert!(answer.body == *body, "{key} was acknowledged and reads otherwise");
                assert!(listed.contains(key), "{key} is not listed");
            }
            None => assert_eq!(answer.status, 404, "the delete of {key} was undone"),
        }
    }
    // Keys that were never acknowledged may be there, but then whole: a listing equals the gets.
    for key in listed.iter().filter(|key| !acknowledged.contains_key(*key)) {
        s3.get("cut", key)?.expect(200)?;
    }
    Ok(())
}

struct Stream {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Stream {
    fn start(s3: &S3, cut: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
        let next = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (s3, stop, acknowledged, next) =
                    (s3.clone(), stop.clone(), acknowledged.clone(), next.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let key = format!("cut-{cut}/{number:06}");
                        let Ok(Some(entry)) = write_one(&s3, &key, number) else { return };
                        let mut all = acknowledged.lock().expect("no client panics");
                        all.insert(key, entry);
                    }
                })
            })
            .collect();
        Self { stop, acknowledged, clients }
    }

    /// Waits until something was acknowledged, however slow the machine is, or all clients failed.
    fn wait_for_one(&self) {
        let is_running = || self.clients.iter().any(|client| !client.is_finished());
        while self.acknowledged.lock().expect("no client panics").is_empty() && is_running() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn finish(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client panicked");
        }
        self.acknowledged.lock().expect("no client panics").clone()
    }
}

/// Writes one object, and deletes each fifth again. `None` where the outcome is not known.
fn write_one(s3: &S3, key: &str, number: u64) -> Result<Option<Option<Vec<u8>>>> {
    // Sizes from empty to 200 KB; contents that follow from their key, of which every second is compressed.
    let length = usize::try_from(number * 7919 % 200_000)?;
    let body = match number % 2 {
        0 => noise(key, length),
        _ => key.bytes().cycle().take(length).collect(),
    };
    if s3.put("cut", key, &body)?.status != 200 {
        return Ok(None);
    }
    if number % 5 != 4 {
        return Ok(Some(Some(body)));
    }
    Ok((s3.delete("cut", key)?.status == 204).then_some(None))
}
