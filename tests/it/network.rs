//! Networks as they are in a rack: a VLAN on a bond of two ports, with nothing else there.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use e2e::disks::Bus;
use e2e::lan::{Lan, Site, mac};
use e2e::machine::{BOOT, Setup};
use e2e::picture::Picture;
use e2e::rack::Rack;
use e2e::stick::node_toml_with;

/// How long the console may lag behind the node: it refreshes every second.
const CONSOLE: Duration = Duration::from_secs(30);

/// The screen with the daemon address as a QR code.
const IDENTITY: &str = "4";

/// Where the node is told to be.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

#[test]
fn a_vlan_on_a_bond_serves_and_the_screen_shows_the_daemon_as_a_qr_code() -> Result<()> {
    let rack = Rack::new("vlan-")?;
    let site = Site { vlan: Some(100), host: (Ipv4Addr::new(10, 9, 0, 1), 24), node: (NODE, 443) };
    let lan = Lan::new(site, 2)?;
    let (first, second) = (mac(0), mac(1));
    let toml = node_toml_with(&format!(
        "[[network.bond]]\nname = \"bond0\"\nports = [\"{first}\", \"{second}\"]\n\
         mode = \"active-backup\"\ndhcp = false\n\
         [[network.vlan]]\nname = \"storage\"\nid = 100\nparent = \"bond0\"\n\
         addresses = [\"10.9.0.2/24\"]\n"
    ));
    let disks = [rack.blank("VLAN0001", Bus::Virtio, 2)?];
    let setup = Setup {
        has_network: false,
        s3_port: Some(lan.port()),
        more: lan.arguments().to_vec(),
        ..Setup::new(&rack.stick("stick.img", &toml)?, &disks)
    };
    let mut node = rack.boot(&setup)?;
    let (s3, ready_after) = node.wait_for_s3("vlan")?;
    println!("S3 over the VLAN after {ready_after:.1?}");
    assert!(lan.was_spoken_on());
    let body: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    s3.put("vlan", "object", &body)?.expect(200)?;
    assert_eq!(s3.get("vlan", "object")?.expect(200)?.body, body);
    println!(
        "{}",
        node.screen.wait_on("2", "VLAN and bond", CONSOLE, |text| {
            text.contains("storage") && text.contains("bond0") && text.contains("10.9.0.2/24")
        })?
    );

    let screen =
        node.screen.wait_on(IDENTITY, "the daemon address", BOOT, |text| daemon(text).is_some())?;
    let daemon = daemon(&screen).expect("it was waited for");
    // The screen of the machine itself: a keyboard and a camera before it.
    let picture = rack.path().join("screen.ppm");
    let until = std::time::Instant::now() + CONSOLE;
    loop {
        node.press(&["4"])?;
        std::thread::sleep(Duration::from_secs(2));
        let codes = Picture::take(&mut node, &picture)?.qr_codes();
        if codes.iter().any(|code| code.to_lowercase().contains(&daemon)) {
            break;
        }
        assert!(std::time::Instant::now() < until, "no QR code of {daemon}, but {codes:?}");
    }
    node.has_no_panic()?;
    node.power_off()?;
    Ok(())
}

/// The daemon address on the Identity screen, in lower case.
fn daemon(text: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("Daemon address"));
    let address = lines.nth(1)?.get(..42)?;
    let digits = address.strip_prefix("0x")?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| address.to_lowercase())
}
