use std::io::Read;

use zeroize::Zeroizing;

use super::*;

fn opened(bundle: &[u8], identity: &x25519::Identity) -> Vec<(String, String)> {
    let decryptor = age::Decryptor::new(bundle).expect("a header of age");
    let keys = std::iter::once(identity as &dyn age::Identity);
    let tar = zstd::Decoder::new(decryptor.decrypt(keys).expect("our key")).expect("zstd");
    let mut files = Vec::new();
    for entry in tar::Archive::new(tar).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        files.push((name, text));
    }
    files
}

#[test]
fn each_of_the_recipients_can_open_it_and_nobody_else() {
    let [ours, theirs, other] = [(); 3].map(|()| x25519::Identity::generate());
    let recipients = [ours.to_public().to_string(), theirs.to_public().to_string()];
    let parts = [
        Part { name: "status.json".to_owned(), content: b"{}".to_vec() },
        Part { name: "log/current.txt".to_owned(), content: b"a line of the log\n".to_vec() },
    ];
    let bundle = pack(&parts, &recipients, 1_767_225_600).expect("a bundle");
    for identity in [&ours, &theirs] {
        let files = opened(&bundle, identity);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["icn-support/status.json", "icn-support/log/current.txt"]);
        assert_eq!(files[1].1, "a line of the log\n");
    }
    assert!(bundle.starts_with(b"age-encryption.org/v1\n"));
    assert!(!bundle.windows(8).any(|bytes| bytes == b"a line o"));
    let keys = std::iter::once(&other as &dyn age::Identity);
    assert!(age::Decryptor::new(bundle.as_slice()).expect("a header").decrypt(keys).is_err());
}

#[test]
fn without_a_key_there_is_no_bundle() {
    assert!(matches!(pack(&[], &[], 0), Err(BundleError::NoRecipients)));
    let wrong = pack(&[], &["age1nonsense".to_owned()], 0);
    assert!(matches!(wrong, Err(BundleError::Recipient { .. })), "{wrong:?}");
}

#[test]
fn a_bundle_has_a_bound() {
    let mut sink = Bounded(vec![0; BUNDLE_MAX - 1]);
    assert!(sink.write_all(b"a").is_ok());
    assert!(sink.write_all(b"b").is_err());
}

#[test]
fn of_a_long_log_the_oldest_lines_go_first_and_no_secret_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("current");
    let text: String = (0..5000).map(|n| format!("line {n} secret_key=hunter{n}\n")).collect();
    std::fs::write(&path, &text).expect("a log");
    let redactor = Redactor::new([Zeroizing::new("line 4998".to_owned())]);
    let all = String::from_utf8(log(&path, 1 << 20, &redactor).expect("a log")).expect("UTF-8");
    assert!(all.starts_with("line 0 secret_key=[redacted]\n"), "{}", &all[..80]);
    let end = String::from_utf8(log(&path, 3000, &redactor).expect("a log")).expect("UTF-8");
    assert!(end.len() <= 3000 && end.starts_with("line 4"), "{end}");
    assert!(end.ends_with("[redacted] secret_key=[redacted]\nline 4999 secret_key=[redacted]\n"));
    assert!(!all.contains("hunter") && !end.contains("hunter"));
}

#[test]
fn what_follows_a_line_that_is_cut_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("current");
    let long = format!(
        "{}secret_key=hunter2\nnext\n",
        "x".repeat(usize::try_from(LINE_MAX).expect("small") - 14)
    );
    std::fs::write(&path, long).expect("a log");
    let text = log(&path, 1 << 20, &Redactor::new([])).expect("a log");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(
        text.ends_with("\nnext\n") && !text.contains("hunter2"),
        "{}",
        &text[text.len() - 60..]
    );
}
