use proptest::prelude::*;
use serde_json::json;

use super::*;

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::new(secrets.iter().map(|secret| Zeroizing::new((*secret).to_owned())))
}

#[test]
fn what_is_named_as_a_secret_goes_and_the_rest_stays() {
    const KEY: &str = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";
    let key = format!("daemon key 1 key=0x{KEY} done");
    let cases = [
        ("secret_key = \"hunter2hunter2\"", "secret_key = \"[redacted]\""),
        ("user=me secretKey=abc, next=1", "user=me secretKey=[redacted], next=1"),
        (r#"{"pin":"2580","a":1}"#, r#"{"pin":"[redacted]","a":1}"#),
        ("pin: 2580 wrong", "pin: [redacted] wrong"),
        (
            "GET /b/k?X-Amz-Signature=ab12&X-Amz-Date=20260101",
            "GET /b/k?X-Amz-Signature=[redacted]&X-Amz-Date=20260101",
        ),
        (
            "authorization: AWS4-HMAC-SHA256 Credential=AK/2026, Signature=ab",
            "authorization: [redacted]",
        ),
        (
            r#"headers={"authorization": "AWS4 Signature=ab\" x", "host": "h"}"#,
            r#"headers={"authorization": "[redacted]", "host": "h"}"#,
        ),
        (key.as_str(), "daemon key 1 key=[redacted] done"),
        ("proxy http://me:hunter2@host:1/ is", "proxy http://[redacted]@host:1/ is"),
        ("identity AGE-SECRET-KEY-1QPZRY9X8 here", "identity [redacted] here"),
        ("mnemonic=abandon ability able", "mnemonic=[redacted]"),
        (r#"password='it''s'"#, "password=[redacted]'s'"),
        // These stay.
        ("disk=naa.5000 temperature=31 spin=7", "disk=naa.5000 temperature=31 spin=7"),
        ("the pin is not known", "the pin is not known"),
        (
            "era root=0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318",
            "era root=0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318",
        ),
        ("2026-01-01T10:00:00Z icn-agent: ready", "2026-01-01T10:00:00Z icn-agent: ready"),
        ("access_key = \"AK\"", "access_key = \"AK\""),
    ];
    for (line, expected) in cases {
        let found = redactor(&[]).text(line);
        if line.starts_with("password") {
            assert!(!found.contains("it"), "{found}");
        } else {
            assert_eq!(found, expected, "{line}");
        }
    }
}

#[test]
fn a_private_key_of_many_lines_goes_as_a_whole() {
    let text = "before\n-----BEGIN PRIVATE KEY-----\nMIIE\nabcd\n-----END PRIVATE KEY-----\nafter\n\
                key=\"-----BEGIN EC PRIVATE KEY-----\\nMIIE\\n-----END EC PRIVATE KEY-----\"\nlast\n";
    let found = redactor(&[]).text(text);
    assert!(!found.contains("MIIE") && !found.contains("abcd"), "{found}");
    assert!(found.starts_with("before\n") && found.contains("\nafter\n"), "{found}");
    assert!(found.ends_with("\nlast\n"), "{found}");
}

#[test]
fn words_of_a_key_go_without_a_name_and_prose_stays() {
    let words = ["legal winner thank year wave sausage worth useful"; 3].join(" ");
    let found = redactor(&[]).text(&format!("shown: {words}\nnext line\n"));
    assert!(!found.contains("sausage"), "{found}");
    assert!(found.contains("next line"), "{found}");
    let prose = "the disk is gone and what it held is made anew on the others, as was said\n";
    assert_eq!(redactor(&[]).text(prose), prose);
}

#[test]
fn a_known_value_goes_wherever_and_however_it_stands() {
    let secret = "a/b+\"c\\d";
    let redactor = redactor(&[secret, "abc"]);
    for text in [
        format!("x{secret}y"),
        format!("url?k={}", percent_encoded(secret)),
        serde_json::to_string(secret).expect("JSON"),
        format!("{secret:?}"),
    ] {
        let found = redactor.text(&text);
        assert!(!found.contains("c\\d") && !found.contains("%2B"), "{found}");
        assert!(found.contains(REDACTED), "{found}");
    }
    assert_eq!(redactor.text("abc"), "abc", "too short to be looked for");
    assert!(!format!("{redactor:?}").contains("a/b"));
}

#[test]
fn json_stays_json() {
    let redactor = redactor(&["sesame-open"]);
    let key = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";
    let mut value = json!({
        "name": "node", "pin": 2580, "secret_key": ["a"], "console": "pin", "token": null,
        "list": [{ "text": "say sesame-open now" }], "daemon_key": key, "root": key,
        "signature": { "r": "1" }, "tokens_paid": 7,
    });
    redactor.json(&mut value);
    let expected = json!({
        "name": "node", "pin": "[redacted]", "secret_key": "[redacted]", "console": "pin", "token": null,
        "list": [{ "text": "say [redacted] now" }], "daemon_key": "[redacted]", "root": key,
        "signature": { "r": "1" }, "tokens_paid": 7,
    });
    assert_eq!(value, expected);
}

#[test]
fn node_toml_keeps_its_form_without_its_secrets() {
    let text = "version = 1\n[[s3.user]]\nname = \"backup\"\nsecret_key = \"open-sesame\"\n\
                [settlement]\nrpc = [\"https://rpc.example.net/v2/KEY1\", \"http://10.0.0.7:8545\"]\n\
                [console]\npin_hash = \"scrypt$abc\"\n";
    let expected = "version = 1\n[[s3.user]]\nname = \"backup\"\nsecret_key = \"[redacted]\"\n\
                    [settlement]\nrpc = [\"https://rpc.example.net/[redacted]\", \"http://10.0.0.7:8545\"]\n\
                    [console]\npin_hash = \"[redacted]\"\n";
    assert_eq!(redactor(&[]).toml(text, Some(&[])), expected);
    let shown = redactor(&[]).toml("a = 1\nscret = \"x\"\n[x]\n", Some(&[2, 3]));
    assert_eq!(shown, "a = 1\nscret = [redacted]\n[redacted]\n");
    let broken = "version = 1\n[console\npin_hash = \"\"\"\nabc def\n\"\"\"\n# old\n";
    let shown = redactor(&[]).toml(broken, None);
    assert_eq!(shown, "version = [redacted]\n[console\npin_hash = [redacted]\n");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_no_known_value_survives(
        text in "\\PC{0,60}",
        secret in "[a-zA-Z0-9/+=\"\\\\:-]{8,40}",
        name in "(secret_key|pin|key|x|authorization|words)[=:] ?\"?",
    ) {
        let redactor = redactor(&[&secret]);
        let line = format!("{text}{name}{secret}{text}\n");
        prop_assert!(!redactor.text(&line).contains(&secret) || REDACTED.contains(&secret));
        let mut value = json!({ "a": line, "pin": [text] });
        redactor.json(&mut value);
        prop_assert!(!value.to_string().contains(&secret) || REDACTED.contains(&secret));
        let _ = redactor.toml(&line, None);
        let _ = redactor.toml(&line, Some(&[1]));
    }
}
