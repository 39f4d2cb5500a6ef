//! `cargo xtask fuzz`: the decoders under libFuzzer.
//!
//! The compiler is told itself to count edges, as cargo-fuzz does: the flags are those of a stable
//! release, and no tool is needed beside it. `cargo fuzz` works as well.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::deps::{self, Need};
use crate::layout::{self, Layout};
use crate::process;
use crate::step;

/// Edges are counted in bytes and told to the fuzzer with their places; what is compared is told too.
/// Sums that overflow end the program, and so does a debug assertion.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// With the platform named, build scripts are built without those flags.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Longest input: more than the largest seed, a partition table of blocks of 4 KiB.
const INPUT_MAX: &str = "-max_len=65536";

/// How long one input may take.
const TIMEOUT: &str = "-timeout=20";

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only targets whose name contains this.
    target: Option<String>,
    /// For so long each.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The fuzzer's seed; 0 for another one each time.
    #[arg(long, default_value_t = 0)]
    seed: u32,
}

/// Runs the targets one after the other.
///
/// # Errors
///
/// When one fails, after all ran, or the fuzzer cannot be built.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(&[Need::Compile, Need::Fuzz])?;
    let layout = Layout::find()?;
    let program = step::timed("the fuzzer", || build(&layout))?;
    let wanted = |name: &&String| args.target.as_ref().is_none_or(|part| name.contains(part));
    let names = names(&program)?;
    let names: Vec<&String> = names.iter().filter(wanted).collect();
    ensure!(!names.is_empty(), "no target has {:?} in its name", args.target);
    let mut failed = Vec::new();
    for name in names {
        if !run(&layout, &program, name, args)? {
            failed.push(name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}; keep each input in tests/fuzz/regressions/TARGET", failed.join(", "));
    }
    Ok(())
}

fn build(layout: &Layout) -> Result<PathBuf> {
    let target = layout.target.join("fuzz");
    let mut command = process::command(&layout::cargo().to_string_lossy());
    command
        .current_dir(&layout.root)
        .args(["build", "--release", "--package", "fuzz", "--features", "libfuzzer"])
        .args(["--bin", "decoders", "--target", PLATFORM])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("RUSTFLAGS", FLAGS);
    process::run(&mut command)?;
    Ok(target.join(PLATFORM).join("release/decoders"))
}

/// The targets that there are.
fn names(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program).env("ICN_FUZZ_LIST", "1").output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.lines().filter_map(|line| line.strip_prefix("target ")).map(str::to_owned).collect())
}

/// Runs one target and prints a line of what it did; says whether it held.
fn run(layout: &Layout, program: &Path, name: &str, args: &Args) -> Result<bool> {
    let dir = layout.target.join("fuzz/corpus").join(name);
    let (seeds, found, failures) = (dir.join("seeds"), dir.join("found"), dir.join("failures"));
    for folder in [&seeds, &found, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let output = Command::new(program)
        .args([&found, &seeds])
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .arg(format!("-max_total_time={}", args.seconds))
        .arg(format!("-seed={}", args.seed))
        .args(["-print_final_stats=1", INPUT_MAX, TIMEOUT])
        .env("ICN_FUZZ_TARGET", name)
        .env("ICN_FUZZ_SEEDS", &seeds)
        .env("TMPDIR", env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let figure = |what: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(what)).unwrap_or(": ?");
        line.trim_start_matches(':').trim().to_owned()
    };
    let edges = said.lines().rev().find_map(|line| line.split_once("cov: "));
    let edges = edges.and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("?");
    println!(
        "{name}: {} inputs, {}/s, {edges} edges, {} MiB",
        figure("stat::number_of_executed_units"),
        figure("stat::average_exec_per_sec"),
        figure("stat::peak_rss_mb"),
    );
    if !output.status.success() {
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
        eprintln!("{name} failed:\n{tail}");
    }
    Ok(output.status.success())
}
