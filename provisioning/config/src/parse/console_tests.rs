use super::*;

#[test]
fn a_file_answers_the_first_steps_by_the_sections_they_are_about() {
    for (text, answers) in [
        ("", false),
        ("version = 1\n[node]\nname = \"a\"\n[health]\n[log]\n", false),
        ("version = 1\n[network]\n", false),
        ("version = 1\n[network]\nntp = [\"192.0.2.1\"]\n", false),
        ("version = 1\n[network]\nntp = [\"192.0.2.1\"]\n[s3]\n", true),
        ("version = 1\n[network]\nntp = []\ndns = [\"192.0.2.1\"]\n", true),
        ("version = 1\n[[network.port]]\nport = \"eno1\"\n", true),
        ("version = 1\nnetwork = 7\n", true),
        ("version = 1\n[disks]\nclaim = \"off\"\n", true),
        ("version = 1\n[[s3.user]]\n", true),
        ("version = 1\n[sla]\n", true),
        ("[console]\n", true),
        ("no configuration", true),
    ] {
        assert_eq!(answers_first_steps(text), answers, "{text}");
    }
}

#[test]
fn a_pin_is_read_and_a_mistake_lets_nobody_change_anything() {
    let hash = "$scrypt$ln=10,r=8,p=1$BwcHBwcHBwcHBwcHBwcHBw$\
                AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let changes = |text: &str| parse(text).0.console.changes;
    let section = |line: &str| changes(&format!("version = 1\n[console]\n{line}\n"));
    assert!(matches!(section(&format!("pin_hash = \"{hash}\"")), Changes::Pin(_)));
    assert_eq!(section(""), Changes::Anybody);
    assert_eq!(changes("version = 1\n"), Changes::Anybody);
    for mistake in ["pin_hash = \"2580\"", "pin_hash = 2580", "pin_hsah = \"x\"", "serial = 1"] {
        assert_eq!(section(mistake), Changes::Nobody, "{mistake}");
    }
    assert_eq!(changes("[console"), Changes::Nobody);
    assert_eq!(changes("[console]\n"), Changes::Nobody, "without a version");
    let (_, told) = parse("version = 1\n[console]\npin_hash = \"2580\"\n");
    let told: String = told.iter().map(ToString::to_string).collect();
    assert!(!told.contains("2580"), "a PIN that was written by mistake is not shown: {told}");
    assert!(told.contains("icn-fleet pin"), "{told}");
}
