//! A support bundle, from the serial line to whoever can open it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use age::x25519::Identity;
use anyhow::{Context, Result, ensure};
use e2e::disks::Bus;
use e2e::machine::Setup;
use e2e::rack::Rack;
use e2e::stick::{USER, node_toml_with};

/// How large the stick for the bundle is: 64 MiB, in sectors of 512 bytes.
const SECTORS: u32 = 131_072;

/// What the stick holds already.
const ELSE: &str = "HOLIDAY.TXT";

/// How long a bundle may take on an emulated stick, where each write is synced.
const WRITTEN: Duration = Duration::from_secs(180);

/// How long the console may take to find that the terminal does not say its size.
const SETTLED: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().context(program.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A stick without a partition table whose FAT file system has the label, and a file of its owner.
fn stick(folder: &Path) -> Result<String> {
    let path = folder.join("support.img");
    File::create(&path)?.set_len(u64::from(SECTORS) * 512)?;
    let image = path.display().to_string();
    let sectors = SECTORS.to_string();
    run(
        "mformat",
        &["-i", &image, "-T", &sectors, "-h", "255", "-s", "63", "-v", "ICN-SUPPORT", "::"],
    )?;
    let file = folder.join("holiday.txt");
    std::fs::write(&file, "sun and sea")?;
    run("mcopy", &["-i", &image, &file.display().to_string(), &format!("::{ELSE}")])?;
    Ok(image)
}

fn opened(bundle: &Path, identity: &Identity) -> Result<BTreeMap<String, String>> {
    let decryptor = age::Decryptor::new(File::open(bundle)?)?;
    let plain = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity))?;
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(zstd::Decoder::new(plain)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(files)
}

#[test]
fn a_bundle_is_written_to_the_labelled_stick_and_opens_with_the_key_alone() -> Result<()> {
    let rack = Rack::new("support-")?;
    let identity = Identity::generate();
    let recipient = identity.to_public();
    let disk = rack.blank("SUPPORT1", Bus::Virtio, 2)?;
    let disks = [disk];
    let more = format!("[support]\nrecipients = [\"{recipient}\"]\n");
    let mut setup = Setup::new(&rack.stick("stick.img", &node_toml_with(&more))?, &disks);
    setup.terminal_answers = false;
    let image = stick(rack.path())?;
    setup.more = [
        "-drive",
        &format!("if=none,id=support,format=raw,file={image}"),
        "-device",
        "usb-storage,bus=xhci.0,drive=support,removable=on,serial=STICKSUP",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut node = rack.boot(&setup)?;
    node.wait_for_s3("steady")?;
    node.wait_for_log("the stick", SETTLED, |log| log.contains("serial=\"STICKSUP\""))?;
    let device = node.device_of("STICKSUP").context("its name")?;
    node.wait_for_log("what is made of it", SETTLED, |log| {
        log.lines().any(|line| line.contains("plan:") && line.contains(&device))
    })?;

    // A line that does not say its size takes commands; it is asked for its size with the first key.
    node.screen.wait_on("\r", "a prompt", SETTLED, |text| text.trim_end().ends_with("icn>"))?;
    node.screen.wipe();
    node.screen.type_keys("support\r")?;
    let shown = node.screen.wait("the bundle", WRITTEN, |text| {
        text.split_whitespace().collect::<Vec<_>>().join(" ").contains("found the same")
    });
    let shown = shown.with_context(|| node.diagnosis())?;
    println!("{shown}");
    node.has_no_panic()?;
    node.power_off()?;

    let listed = run("mdir", &["-b", "-i", &image, "::"])?;
    let names: Vec<&str> = listed.lines().map(|line| line.trim_start_matches("::/")).collect();
    ensure!(names.len() == 2 && names.contains(&ELSE), "the stick has {names:?}");
    let name = names.iter().find(|name| **name != ELSE).context("a bundle")?;
    ensure!(name.starts_with("icn-support-") && name.ends_with(".tar.zst.age"), "{name}");
    let bundle = rack.path().join("bundle.age");
    let to = bundle.display().to_string();
    run("mcopy", &["-i", &image, &format!("::{name}"), &to])?;

    let files = opened(&bundle, &identity)?;
    for name in ["versions.json", "status.json", "disks.json", "pool.json", "log-current.txt"] {
        ensure!(
            files.contains_key(&format!("icn-support/{name}")),
            "no {name}: {:?}",
            files.keys()
        );
    }
    ensure!(files["icn-support/status.json"].contains("\"e2e\""), "the status names the node");
    ensure!(files["icn-support/node.toml"].contains("[redacted]"), "node.toml is told");
    for (name, text) in &files {
        ensure!(!text.contains(USER.1), "{name} has the secret key");
    }
    ensure!(opened(&bundle, &Identity::generate()).is_err(), "another key opens it");
    Ok(())
}
