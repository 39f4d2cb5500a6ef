//! Files that somebody else could have written.

use proptest::prelude::*;

use super::super::*;

/// Lines near enough to a configuration to get past the syntax.
fn line() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = KEYS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
    let headers: Vec<String> =
        KEYS.iter().flat_map(|(s, _)| [format!("[{s}]"), format!("[[{s}]]")]).collect();
    let value = prop_oneof![
        Just("\"192.0.2.1/24\"".to_owned()),
        Just("[\"192.0.2.1\"]".to_owned()),
        Just("-1".to_owned()),
        Just("true".to_owned()),
        Just("99999999999999999999999999999999999999999".to_owned()),
        Just("{ a = 1 }".to_owned()),
        "\"[ -~&&[^\"\\\\]]{0,20}\"",
        "\\PC{0,12}",
    ];
    prop_oneof![
        prop::sample::select(headers),
        (prop::sample::select(keys), value).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_every_problem_says_something(text in "\\PC*") {
        for problem in parse(&text).1.iter().chain(&parse(&format!("version = 1\n{text}")).1) {
            prop_assert!(!problem.message.is_empty() && !problem.consequence.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes);
    }

    #[test]
    fn a_near_miss_is_reported_on_a_line_of_the_file(lines in prop::collection::vec(line(), 0..12)) {
        let text = format!("version = 1\n{}", lines.join("\n"));
        let (config, problems) = parse(&text);
        for problem in &problems {
            prop_assert!(!problem.message.is_empty() && !problem.consequence.is_empty());
            prop_assert!(problem.line <= text.lines().count() + 1, "{problem}");
            prop_assert!(!problem.to_string().contains(char::is_control));
            if problem.consequence.contains("no disk is claimed") {
                prop_assert_eq!(config.disks.claim, ClaimMode::Off);
            }
        }
    }

    #[test]
    fn a_valid_file_gives_back_what_was_written(
        name in "[a-z][a-z0-9]{0,20}",
        address in any::<[u8; 3]>(),
        prefix in 9_u8..=30,
        mtu in 1280_u16..=9216,
        port in 80_u16..,
        gib in 1_u64..1000,
        secret in "[!-~&&[^\"\\\\]]{8,128}",
    ) {
        let host = format!("10.{}.{}.{}", address[0], address[1], address[2]);
        let text = format!(
            "version = 1\n[node]\nname = \"{name}\"\n[[network.port]]\nport = \"{}\"\n\
             addresses = [\"{host}/{prefix}\"]\nmtu = {mtu}\n[disks]\nclaim = \"off\"\n\
             min_size = \"{gib}GiB\"\n[s3]\nlisten = \":{port}\"\n[[s3.user]]\nname = \"{name}\"\n\
             access_key = \"AKIA{port}\"\nsecret_key = \"{secret}\"\n",
            &name[..name.len().min(15)],
        );
        let host_part = u32::from_be_bytes([10, address[0], address[1], address[2]])
            & (u32::MAX >> prefix);
        prop_assume!(host_part != 0 && host_part != u32::MAX >> prefix);
        let (config, problems) = parse(&text);
        prop_assert_eq!(problems, vec![]);
        prop_assert_eq!(config.node.name.as_deref(), Some(name.as_str()));
        let written = &config.network.ports[0];
        prop_assert_eq!(written.addresses[0].address.to_string(), host);
        prop_assert_eq!((written.addresses[0].prefix, written.mtu), (prefix, Some(mtu)));
        prop_assert_eq!((config.disks.claim, config.disks.min_size), (ClaimMode::Off, gib << 30));
        prop_assert_eq!(config.s3.listen.port(), port);
        prop_assert_eq!(&config.s3.users[0].secret_key, &secret);
    }
}
