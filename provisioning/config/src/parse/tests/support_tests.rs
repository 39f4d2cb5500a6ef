//! What an HP says of its node, and whom a bundle is for.

use expect_test::expect;

use super::check;
use crate::{Recipient, parse};

const KEY: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

pub(super) fn recipient() -> Recipient {
    Recipient(KEY.to_owned())
}

#[test]
fn every_wrong_recipient_is_named_with_its_line() {
    let text = format!(
        "version = 1\n[support]\nrecipients = [\n\"{KEY}\",\n\"age1zvkyg\",\n\"{}\",\n\
         \"AGE-SECRET-KEY-1QQQQ\",\n\"{KEY}\",\n]\n",
        KEY.replace("zvk", "zvp"),
    );
    check(
        &text,
        &expect![[r#"
        node.toml line 5, support.recipients: "age1zvkyg" is not a recipient: write the public key that age-keygen prints, "age1" and 58 small letters and digits; [support] is ignored and no support bundle is written
        node.toml line 6, support.recipients: "age1zvpyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnuj…" has a slip of the pen, its checksum is wrong: copy the public key once more; [support] is ignored and no support bundle is written
        node.toml line 7, support.recipients: this is a private key, which stays with whoever reads bundles: write the public key that belongs to it, which begins with age1, and make a new pair if this file left your hands; [support] is ignored and no support bundle is written
        node.toml line 8, support.recipients: "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnuj…" is there twice: remove one; [support] is ignored and no support bundle is written
    "#]],
    );
    assert!(parse(&text).0.support.recipients.is_empty());
    let many = vec![format!("\"{KEY}\""); 17].join(", ");
    let text = format!("version = 1\n[support]\nrecipients = [{many}]\n");
    check(
        &text,
        &expect![[r#"
        node.toml line 3, support.recipients: 17 entries are too many: write at most 16; [support] is ignored and no support bundle is written
    "#]],
    );
}

#[test]
fn a_wrong_proxy_or_region_says_what_to_write() {
    let text = "version = 1\n[node]\nregion = \"a\\tb\"\nhardware_class = \"\"\n[network]\nproxy = \"proxy:3128\"\n\
                no_proxy = [\"10.0.0.1/8\", \"*\"]\n";
    check(
        text,
        &expect![[r#"
        node.toml line 3, node.region: "a\tb" is not a region: write 1 to 40 printable characters without spaces at the ends, such as "Zürich, rack 4"; [node] is ignored and the node keeps its default name
        node.toml line 4, node.hardware_class: "" is not a class of hardware: write 1 to 40 printable characters without spaces at the ends, such as "hdd-12"; [node] is ignored and the node keeps its default name
        node.toml line 6, network.proxy: "proxy:3128" is not a proxy: write http://, its name or address and its port, such as "http://proxy.example.net:3128"; [network] is ignored and every port uses DHCP
        node.toml line 7, network.no_proxy: 10.0.0.1/8 is an address with the length of a network: write the network's first address, or the address alone; [network] is ignored and every port uses DHCP
        node.toml line 7, network.no_proxy: "*" is not what can be reached without the proxy: write a name such as "example.net", an address, or a network such as "10.0.0.0/8"; [network] is ignored and every port uses DHCP
    "#]],
    );
}
