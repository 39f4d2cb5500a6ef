//! Wrong configuration: clear words on the console, and a node that still serves.

use std::time::Duration;

use anyhow::Result;
use e2e::disks::Bus;
use e2e::machine::{BOOT, Machine, Setup};
use e2e::rack::Rack;
use e2e::screen::DISKS;
use e2e::stick::{self, node_toml, node_toml_with};

const CONSOLE: Duration = Duration::from_secs(30);

/// Boots once with a right configuration, so that there is a disk of ours to serve from.
fn claimed(rack: &Rack) -> Result<Vec<e2e::disks::Disk>> {
    let disks = vec![rack.blank("CONF0001", Bus::Virtio, 2)?];
    let mut node = rack.boot(&Setup::new(&rack.stick("right.img", &node_toml())?, &disks))?;
    let (s3, _) = node.wait_for_s3("kept")?;
    s3.put("kept", "object", b"from before")?.expect(200)?;
    node.power_off()?;
    Ok(disks)
}

fn shows(node: &Machine, words: &[&str]) -> Result<String> {
    node.screen.wait(&words.join(", "), BOOT, |text| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().all(|word| text.contains(word))
    })
}

fn shows_disks(node: &Machine, serials: &[&str]) -> Result<String> {
    node.screen.wait_on(DISKS, &serials.join(", "), BOOT, |text| {
        serials.iter().all(|serial| text.contains(serial))
    })
}

#[test]
fn a_wrong_configuration_is_told_on_the_console_and_the_node_still_serves() -> Result<()> {
    let rack = Rack::new("config-")?;
    let disks = claimed(&rack)?;
    let spare = rack.blank("CONFSPAR", Bus::Virtio, 2)?;
    let mut both = disks.clone();
    both.push(spare.clone());
    let blank_digest = spare.digest()?;

    // A syntax error: nobody knows what was meant, so no disk is claimed; DHCP, own disks, S3.
    let broken = node_toml().replace("[disks]", "[disks");
    let mut node = rack.boot(&Setup::new(&rack.stick("broken.img", &broken)?, &both))?;
    println!("{}", shows(&node, &["node.toml", "line 6"])?);
    node.wait_for_https()?;
    shows_disks(&node, &["CONF0001", "CONFSPAR"])?;
    node.cut_power();
    assert_eq!(spare.digest()?, blank_digest, "a disk was claimed on a broken configuration");

    // A bad address and an unknown key: their sections fall back, the rest of the file counts.
    let wrong = node_toml_with(
        "[[network.port]]\nport = \"enp0s2\"\naddresses = [\"10.0.2.300/24\"]\n\
         [console]\nserail = [\"ttyS0\"]\n",
    );
    let mut node = rack.boot(&Setup::new(&rack.stick("wrong.img", &wrong)?, &disks))?;
    println!("{}", shows(&node, &["10.0.2.300", "serail"])?);
    let (s3, _) = node.wait_for_s3("kept")?;
    assert_eq!(s3.get("kept", "object")?.expect(200)?.body, b"from before");
    node.power_off()?;
    Ok(())
}

#[test]
fn two_sticks_that_differ_are_told_and_neither_is_obeyed() -> Result<()> {
    let rack = Rack::new("two-sticks-")?;
    let disks = [rack.blank("TWIN0001", Bus::Virtio, 2)?];
    let before = disks[0].digest()?;
    let first = rack.stick("first.img", &node_toml())?;
    let second = rack.stick("second.img", &node_toml_with("# another"))?;
    let digests = [sha(&first)?, sha(&second)?];
    let mut setup = Setup::new(&first, &disks);
    setup.sticks.push(second.clone());
    let node = rack.boot(&setup)?;
    println!("{}", shows(&node, &["ICN-SEED"])?);
    shows_disks(&node, &["TWIN0001"])?;
    node.cut_power();
    assert_eq!(disks[0].digest()?, before, "a disk was claimed though two sticks disagree");
    assert_eq!([sha(&first)?, sha(&second)?], digests, "a stick was written to");
    Ok(())
}

fn sha(path: &std::path::Path) -> Result<String> {
    use sha2::{Digest, Sha256};
    Ok(hex::encode(Sha256::digest(std::fs::read(path)?)))
}

#[test]
fn a_static_address_and_a_given_certificate_are_used() -> Result<()> {
    let rack = Rack::new("static-")?;
    let disks = [rack.blank("STAT0001", Bus::Virtio, 2)?];
    let (certificate, key) = self_made_certificate(&rack)?;
    let toml = node_toml_with(
        "[[network.port]]\nport = \"52:54:00:12:34:56\"\n\
         addresses = [\"10.0.2.77/24\", \"fec0::77/64\"]\ngateways = [\"10.0.2.2\"]\n\
         [s3]\ntls_certificate = \"tls/cert.pem\"\ntls_key = \"tls/key.pem\"\n",
    )
    .replace("ntp = []\n", "ntp = []\ndns = [\"10.0.2.3\"]\n");
    // `[s3]` must stand before `[[s3.user]]`'s table in no particular order: TOML allows both.
    let stick = stick::make(
        &rack.artefacts,
        &rack.path().join("stick.img"),
        &[("node.toml", &toml), ("tls/cert.pem", &certificate), ("tls/key.pem", &key)],
    )?;
    let mut setup = Setup::new(&stick, &disks);
    setup.guest_address = Some("10.0.2.77");
    let mut node = rack.boot(&setup)?;
    node.wait_for_s3("static")?;
    node.screen.wait("the static address", CONSOLE, |text| text.contains("10.0.2.77"))?;
    let served = served_subject(node.s3_port())?;
    assert!(served.contains("e2e.example.org"), "another certificate is served: {served}");
    node.power_off()?;
    Ok(())
}

fn self_made_certificate(rack: &Rack) -> Result<(String, String)> {
    let (certificate, key) = (rack.path().join("cert.pem"), rack.path().join("key.pem"));
    let status = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-nodes", "-days", "3650", "-subj", "/CN=e2e.example.org"])
        .args(["-addext", "subjectAltName=DNS:e2e.example.org", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(std::process::Stdio::null())
        .status()?;
    assert!(status.success(), "openssl made no certificate");
    Ok((std::fs::read_to_string(certificate)?, std::fs::read_to_string(key)?))
}

fn served_subject(port: u16) -> Result<String> {
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null \
         | openssl x509 -noout -subject"
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}
