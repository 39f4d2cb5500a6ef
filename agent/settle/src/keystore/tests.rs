use proptest::prelude::*;

use super::*;

/// The test vectors of the definition (ethereum.org, "Web3 Secret Storage Definition").
const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
    "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
    "kdfparams":{"dklen":32,"n":262144,"r":1,"p":8,
    "salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
    "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
    "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
    "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
    "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
    "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
    "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
    "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const PASSWORD: &[u8] = b"testpassword";
const KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

/// A keystore that is opened at once.
const CHEAP: &str = r#"{"version":3,"address":"","crypto":{"cipher":"aes-128-ctr",
    "cipherparams":{"iv":"00000000000000000000000000000000"},
    "ciphertext":"0000000000000000000000000000000000000000000000000000000000000001","kdf":"scrypt",
    "kdfparams":{"dklen":32,"n":2,"r":1,"p":1,"salt":"00"},
    "mac":"0000000000000000000000000000000000000000000000000000000000000000"}}"#;

#[test]
fn the_definitions_own_keystores_are_opened_and_only_by_their_password() {
    for text in [SCRYPT, PBKDF2] {
        let key = open(text, PASSWORD).unwrap();
        assert_eq!(hex::encode(key.bytes()), KEY);
        assert_eq!(open(text, b"testpasswore").unwrap_err(), KeystoreError::Password);
    }
}

#[test]
fn what_is_written_is_read_again_and_names_its_account() {
    let key = SecretKey::parse(format!("0x{KEY}\n").as_bytes()).unwrap();
    let drawn = Drawn { salt: [7; 32], iv: [8; 16], id: [0xff; 16] };
    let text = seal(&key, b"word", &drawn).unwrap();
    assert_eq!(account(&text).unwrap(), Some(key.address().unwrap()));
    assert_eq!(open(&text, b"word").unwrap().bytes(), key.bytes());
    assert!(text.contains("ffffffff-ffff-4fff-bfff-ffffffffffff"));
    assert!(!text.contains(KEY) && !text.contains("word\""));
    let other = text.replace(&hex::encode(key.address().unwrap()), &"11".repeat(20));
    let error = open(&other, b"word").unwrap_err();
    assert!(matches!(error, KeystoreError::OtherAccount { .. }), "{error}");
}

#[test]
fn what_is_malformed_is_refused_with_the_reason() {
    let cases = [
        ("", "", "no JSON"),
        ("\"version\":3", "\"version\":4", "version `4`"),
        ("aes-128-ctr", "aes-128-cbc", "cipher `aes-128-cbc`"),
        ("\"scrypt\"", "\"argon2\"", "derivation `argon2`"),
        ("\"n\":2", "\"n\":3", "cost of scrypt"),
        ("\"n\":2", "\"n\":1", "cost of scrypt"),
        ("\"n\":2", "\"n\":9223372036854775808", "cost of scrypt"),
        ("\"r\":1", "\"r\":4294967295", "cost of scrypt"),
        ("\"r\":1", "\"r\":0", "cost of scrypt"),
        ("\"p\":1", "\"p\":17", "cost of scrypt"),
        ("\"p\":1", "\"q\":1", "parameters of scrypt are missing"),
        ("\"dklen\":32", "\"dklen\":4", "dklen"),
        ("\"salt\":\"00\"", "\"salt\":\"0g\"", "salt is not"),
        ("\"salt\":\"00\"", "\"salt\":\"\"", "salt's length"),
        ("\"iv\":\"00", "\"iv\":\"", "iv is not 16 bytes"),
        ("\"mac\":\"00", "\"mac\":\"", "mac is not 32 bytes"),
        ("\"ciphertext\":\"00", "\"ciphertext\":\"", "ciphertext is not 32 bytes"),
        ("\"address\":\"\"", "\"address\":\"12\"", "address is not 20 bytes"),
    ];
    assert_eq!(open(CHEAP, b"").unwrap_err(), KeystoreError::Password);
    for (from, to, expected) in cases {
        let text = if from.is_empty() { "{".to_owned() } else { CHEAP.replacen(from, to, 1) };
        assert_ne!(text, CHEAP, "{from}");
        let error = open(&text, b"").unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for text in ["", "0x", "zz", &KEY[1..], &"00".repeat(32), &"ff".repeat(32)] {
        assert_eq!(SecretKey::parse(text.as_bytes()).unwrap_err(), KeystoreError::NoKey);
    }
    assert_eq!(format!("{:?}", SecretKey::parse(KEY.as_bytes()).unwrap()), "SecretKey");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]
    #[test]
    fn no_bytes_make_it_panic(at in 0..CHEAP.len(), byte in 0_u8..128) {
        let mut bytes = CHEAP.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(open(&text, b"x").is_err());
        }
    }
}
