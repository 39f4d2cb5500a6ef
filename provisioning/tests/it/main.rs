//! The command line against images made here: GPT, an ESP and a FAT partition ICN-SEED.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it does not expect"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{BASIC, EFI};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;
const GOOD: &str = "version = 1\n[s3]\ntls_certificate = \"node.pem\"\ntls_key = \"node.key\"\n";

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("file is written");
        path
    }

    /// A disk image with an ESP and `seeds` ICN-SEED partitions, each formatted with FAT.
    fn image(&self, seeds: usize) -> PathBuf {
        self.image_with(&vec!["ICN-SEED"; seeds])
    }

    /// A disk image with an ESP and a basic data partition of each name.
    fn image_with(&self, names: &[&str]) -> PathBuf {
        let path = self.path("icn-node.img");
        let size = (4 + 8 * names.len() as u64 + 4) * MIB;
        let mut file = File::create_new(&path).expect("image is new");
        file.set_len(size).expect("image has its size");
        ProtectiveMBR::with_lb_size(u32::try_from(size / 512 - 1).expect("small"))
            .overwrite_lba0(&mut file)
            .expect("protective MBR");
        let mut disk = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(LogicalBlockSize::Lb512)
            .create(&path)
            .expect("empty GPT");
        disk.update_partitions(BTreeMap::new()).expect("empty table");
        disk.add_partition("ESP", 2 * MIB, EFI, 0, None).expect("ESP");
        for name in names {
            disk.add_partition(name, 8 * MIB, BASIC, 0, None).expect("basic data");
        }
        disk.write().expect("GPT is written");
        for start in seed_starts(&path) {
            let label = *b"ICN-SEED   ";
            let options = fatfs::FormatVolumeOptions::new().volume_label(label);
            fatfs::format_volume(slice(&path, start), options).expect("FAT is made");
        }
        path
    }
}

/// The bytes of a partition of 8 MiB.
struct Slice {
    file: File,
    start: u64,
}

fn slice(path: &Path, start: u64) -> Slice {
    let mut file = File::options().read(true).write(true).open(path).expect("image opens");
    file.seek(SeekFrom::Start(start)).expect("seek");
    Slice { file, start }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for Slice {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Slice {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start + at),
            SeekFrom::End(by) => {
                SeekFrom::Start((self.start + 8 * MIB).checked_add_signed(by).expect("inside"))
            }
            current => current,
        };
        Ok(self.file.seek(to)? - self.start)
    }
}

fn seed_starts(path: &Path) -> Vec<u64> {
    let disk = gpt::GptConfig::new().open(path).expect("GPT is read");
    let all = disk.partitions().values().filter(|p| p.name == "ICN-SEED");
    all.map(|p| p.first_lba * 512).collect()
}

fn content(path: &Path) -> BTreeMap<String, String> {
    let start = seed_starts(path)[0];
    let system =
        fatfs::FileSystem::new(slice(path, start), fatfs::FsOptions::new()).expect("FAT is read");
    let root = system.root_dir();
    root.iter()
        .map(|entry| entry.expect("entry"))
        .filter(|entry| !entry.attributes().contains(fatfs::FileAttributes::VOLUME_ID))
        .map(|entry| {
            let mut text = String::new();
            entry.to_file().read_to_string(&mut text).expect("text");
            (entry.file_name(), text)
        })
        .collect()
}

fn fleet(arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_icn-fleet"))
        .args(arguments)
        .args(files)
        .output()
        .expect("icn-fleet runs")
}

fn write(image: &Path, files: &[PathBuf]) -> Output {
    fleet(&["seed", "write", "--image", image.to_str().expect("UTF-8")], files)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_file_passes_the_check() {
    let bench = Bench::new();
    let output = fleet(&["seed", "check"], &[bench.file("any.toml", GOOD)]);
    assert!(output.status.success());
    assert!(text(&output.stdout).ends_with("any.toml: no mistakes\n"), "{output:?}");
}

#[test]
fn a_bad_file_fails_the_check_and_each_mistake_is_printed() {
    let bench = Bench::new();
    let file = bench.file("node.toml", "version = 1\n[disks]\nclaim = \"all\"\n[netwrok]\n");
    let output = fleet(&["seed", "check"], &[file]);
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    assert!(lines.contains("node.toml line 3, disks.claim: "), "{lines}");
    assert!(lines.contains("node.toml line 4, netwrok: "), "{lines}");
}

#[test]
fn node_toml_and_its_certificate_are_put_on_the_partition() {
    let bench = Bench::new();
    let image = bench.image(1);
    let size = fs::metadata(&image).expect("image").len();
    let files = [
        bench.file("node.toml", GOOD),
        bench.file("node.pem", "certificate"),
        bench.file("node.key", "key"),
    ];
    let output = write(&image, &files);
    assert!(output.status.success(), "{output:?}");
    let there = content(&image);
    let names: Vec<&str> = there.keys().map(String::as_str).collect();
    assert_eq!(names, ["node.key", "node.pem", "node.toml"]);
    assert_eq!(there["node.toml"], GOOD);
    assert_eq!(there["node.pem"], "certificate");
    assert_eq!(fs::metadata(&image).expect("image").len(), size);
}

#[test]
fn writing_again_replaces_only_the_files_of_the_same_name() {
    let bench = Bench::new();
    let image = bench.image(1);
    let long = format!("version = 1\n#{}\n", "x".repeat(100_000));
    for (name, text) in [("a.pem", "a"), ("b.pem", "b")] {
        let files = [bench.file("node.toml", &long), bench.file(name, text)];
        assert!(write(&image, &files).status.success());
    }
    assert!(write(&image, &[bench.file("node.toml", "version = 1\n")]).status.success());
    let there = content(&image);
    assert_eq!(there.len(), 3);
    assert_eq!(there["node.toml"], "version = 1\n");
    assert_eq!((there["a.pem"].as_str(), there["b.pem"].as_str()), ("a", "b"));
}

#[test]
fn a_file_with_mistakes_is_not_written() {
    let bench = Bench::new();
    let image = bench.image(1);
    let before = fs::read(&image).expect("image");
    for (bad, says) in [
        ("version = 1\n[disks]\nclaim = \"all\"\n", "disks.claim"),
        (GOOD, "node.pem is not among the files"),
    ] {
        let output = write(&image, &[bench.file("node.toml", bad)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains(says), "{output:?}");
        assert!(fs::read(&image).expect("image") == before, "the image has changed");
    }
}

#[test]
fn a_target_without_exactly_one_partition_is_left_alone() {
    let good = "version = 1\n";
    for (seeds, says) in [(0, "has no ICN-SEED partition"), (2, "has 2 ICN-SEED partitions")] {
        let bench = Bench::new();
        let image = bench.image(seeds);
        let before = fs::read(&image).expect("image");
        let output = write(&image, &[bench.file("node.toml", good)]);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(says), "{output:?}");
        assert!(fs::read(&image).expect("image") == before, "the image has changed");
    }
    let bench = Bench::new();
    let output = write(&bench.file("photo.jpg", "not a disk"), &[bench.file("node.toml", good)]);
    assert!(text(&output.stderr).contains("no readable partition table"), "{output:?}");
}

#[test]
fn a_basic_data_partition_of_another_name_is_left_alone() {
    let bench = Bench::new();
    let image = bench.image_with(&["Basic data partition", "icn-seed"]);
    let before = fs::read(&image).expect("image");
    let output = write(&image, &[bench.file("node.toml", "version = 1\n")]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("has no ICN-SEED partition"), "{output:?}");
    assert!(fs::read(&image).expect("image") == before, "the image has changed");
}

#[test]
fn files_that_a_node_would_not_read_are_refused() {
    let bench = Bench::new();
    let image = bench.image(1);
    let huge = bench.file("huge.pem", &"x".repeat(1024 * 1024 + 1));
    let config = bench.file("node.toml", "version = 1\n");
    for (files, says) in [
        (vec![config.clone(), huge], "larger than"),
        (vec![bench.file("node.pem", "")], "no file is called node.toml"),
        (vec![config.clone(), config.clone()], "given twice"),
        (vec![bench.path("missing.toml")], "cannot read"),
    ] {
        let output = write(&image, &files);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(says), "{output:?}");
    }
}

#[test]
fn a_full_partition_is_an_error_and_keeps_the_configuration_it_had() {
    let bench = Bench::new();
    let image = bench.image(1);
    let config = bench.file("node.toml", "version = 1\n");
    assert!(write(&image, &[config]).status.success());
    let other =
        [bench.file("node.toml", "version = 1\n"), bench.file("x.pem", &"x".repeat(1024 * 1024))];
    assert!(write(&image, &other).status.success());
    let mut files: Vec<PathBuf> =
        (0..7).map(|n| bench.file(&format!("{n}.pem"), &"x".repeat(1024 * 1024))).collect();
    files.push(bench.file("node.toml", "version = 1\n[node]\nname = \"other\"\n"));
    let output = write(&image, &files);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("cannot write"), "{output:?}");
    let there = content(&image);
    assert_eq!(there["node.toml"], "version = 1\n");
    assert!(!there.contains_key("icn-new.tmp"));
}

/// What `icn-fleet pin` makes of a line on its standard input.
fn pin(line: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_icn-fleet"))
        .arg("pin")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("icn-fleet");
    process.stdin.take().expect("a pipe").write_all(line.as_bytes()).expect("written");
    process.wait_with_output().expect("an end")
}

#[test]
fn the_line_made_of_a_pin_is_one_that_a_node_reads_and_no_two_are_alike() {
    let bench = Bench::new();
    let made = pin("2580\n");
    assert!(made.status.success(), "{made:?}");
    let line = String::from_utf8(made.stdout).expect("UTF-8");
    assert!(!line.contains("2580"), "{line}");
    let text = format!("version = 1\n[console]\n{line}");
    let (config, problems) = provisioning_config::parse(&text);
    assert_eq!(problems, []);
    let provisioning_config::Changes::Pin(hash) = config.console.changes else { panic!("no PIN") };
    assert!(hash.accepts("2580") && !hash.accepts("2581"));
    let path = bench.file("node.toml", &text);
    let mut check = Command::new(env!("CARGO_BIN_EXE_icn-fleet"));
    assert!(check.args(["seed", "check"]).arg(path).status().expect("icn-fleet").success());
    assert_ne!(pin("2580\n").stdout, line.into_bytes(), "each has a salt of its own");
    for wrong in ["", "12\n", "abcd\n"] {
        assert!(!pin(wrong).status.success(), "{wrong:?}");
    }
}
