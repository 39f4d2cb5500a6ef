//! `cargo xtask bench`: measures, and renews the tables of docs/performance.md.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;

use crate::deps::{self, Need};
use crate::image::{self, Compression};
use crate::layout::{self, Layout};
use crate::process;
use crate::step;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Sizes of the image by part.
    Image,
    /// Seconds from power-on to the first object, and memory when idle.
    Boot,
    /// S3 through the agent on this machine, from outside.
    S3,
    /// What lies below S3: hashes, seals, codecs, journal, groups.
    Engine,
    /// What a node costs an SLA oracle, and how many fit.
    Oracle,
}

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure; everything, where none is named.
    subjects: Vec<Subject>,
    #[command(flatten)]
    load: LoadArgs,
}

/// What `s3`, `engine` and `oracle` are measured with. Where one of these is given, the tables of
/// docs/performance.md are left as they are: they show the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
struct LoadArgs {
    /// s3, engine: seconds of each measured round [default: 5].
    #[arg(long)]
    seconds: Option<u64>,
    /// s3: objects for listing, reopening and memory [default: 100000].
    #[arg(long)]
    objects: Option<u64>,
    /// s3: bytes of each of those objects, of listing, reopening and memory [default: 4096].
    #[arg(long)]
    object_bytes: Option<u64>,
    /// s3, engine: folders that stand for disks [default: 4].
    #[arg(long)]
    disks: Option<u16>,
    /// oracle: nodes that are simulated [default: 10000].
    #[arg(long)]
    nodes: Option<u64>,
    /// s3, engine, oracle: the folder to work in [default: below cargo's target directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// s3, engine: only this work; may be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// s3, engine, oracle: where the figures go as JSON [default: bench/ below cargo's target directory].
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures, prints the tables, writes them into docs/performance.md and the figures as JSON into
/// `bench/` below cargo's target directory.
///
/// # Errors
///
/// When something cannot be built or measured.
pub(crate) fn command(args: &Args) -> Result<()> {
    let layout = Layout::find()?;
    let chosen = if args.subjects.is_empty() { Subject::value_variants() } else { &args.subjects };
    let mut built = None;
    for subject in chosen {
        let name =
            subject.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        let table = match subject {
            Subject::Image => {
                let sizes = image(&layout, &mut built)?.sizes.table();
                format!("```text\n{}\n```\n", sizes.trim_end())
            }
            Subject::Boot => boot_table(&boot(&layout, image(&layout, &mut built)?)?)?,
            Subject::S3 | Subject::Engine | Subject::Oracle => load(&layout, &name, &args.load)?,
        };
        println!("{name}\n\n{table}");
        let is_load = matches!(subject, Subject::S3 | Subject::Engine | Subject::Oracle);
        if !is_load || args.load == LoadArgs::default() {
            write_table(&layout, &name, &table)?;
        }
    }
    Ok(())
}

/// The image, built once where it is needed.
fn image<'a>(layout: &Layout, built: &'a mut Option<image::Built>) -> Result<&'a image::Built> {
    if built.is_none() {
        deps::ensure(Need::ALL)?;
        *built = Some(image::build(layout, Compression::Release)?);
    }
    built.as_ref().context("the image was just built")
}

/// Runs the program that boots nodes, and keeps its JSON.
fn boot(layout: &Layout, built: &image::Built) -> Result<Value> {
    let text = step::timed("measuring boot", || {
        let mut command = process::command(&layout::cargo().to_string_lossy());
        command
            .current_dir(&layout.root)
            .args(["run", "--quiet", "--release", "--locked", "-p", "e2e", "--bin", "bench-boot"])
            .env("ICN_IMAGE_DIR", &built.image_dir)
            .env("ICN_BIN_DIR", &built.bin_dir);
        process::output(&mut command)
    })?;
    step::replace_file(&figures(layout)?.join("boot.json"), text.as_bytes())?;
    serde_json::from_str(&text).context("the measuring program printed no JSON")
}

/// Builds what is measured and the program that puts load on it, runs it, and gives its table.
fn load(layout: &Layout, name: &str, args: &LoadArgs) -> Result<String> {
    deps::ensure(&[Need::Compile, Need::Measure])?;
    // One by one: together they would be built with each other's features.
    let packages: &[&str] = match name {
        "s3" => &["agent", "bench"],
        "oracle" => &["reference-oracle"],
        _ => &["bench"],
    };
    step::timed(&format!("building what measures {name}"), || {
        packages.iter().try_for_each(|package| {
            let mut build = process::command(&layout::cargo().to_string_lossy());
            build.current_dir(&layout.root).args(["build", "--quiet", "--release", "--locked"]);
            process::run(build.args(["-p", package]))
        })
    })?;
    let programs = layout.target.join("release");
    let figures = figures(layout)?;
    let dir = args.dir.clone().unwrap_or_else(|| figures.clone());
    let json = args.json.clone().unwrap_or_else(|| figures.join(format!("{name}.json")));
    let (program, work) =
        if name == "oracle" { ("reference-oracle", "load") } else { ("bench", name) };
    let mut command = process::command(&programs.join(program).to_string_lossy());
    command.arg(work).arg("--dir").arg(dir).arg("--json").arg(json);
    if name == "oracle" {
        command.args(args.nodes.map(|nodes| format!("--nodes={nodes}")));
        return process::output_with_progress(&mut command);
    }
    if name == "s3" {
        command.arg("--agent").arg(programs.join("icn-agent"));
    }
    let numbers = [
        ("--seconds", args.seconds),
        ("--objects", args.objects),
        ("--object-bytes", args.object_bytes),
        ("--disks", args.disks.map(u64::from)),
    ];
    for (flag, number) in numbers {
        command.args(number.map(|number| format!("{flag}={number}")));
    }
    command.args(args.only.iter().map(|only| format!("--only={only}")));
    process::output_with_progress(&mut command)
}

/// Where figures are kept.
fn figures(layout: &Layout) -> Result<PathBuf> {
    let dir = layout.target.join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

fn number(value: &Value, name: &str) -> Result<f64> {
    value.get(name).and_then(Value::as_f64).with_context(|| format!("no figure {name}"))
}

fn boot_table(figures: &Value) -> Result<String> {
    let mut table = String::from(
        "| boot | firmware and loader | kernel | ours | power-on to first 200 |\n|---|---|---|---|---|\n",
    );
    for (name, key) in [("fresh, four blank disks", "fresh"), ("again", "again")] {
        let boot = figures.get(key).context("no boot")?;
        writeln!(
            table,
            "| {name} | {:.1} s | {:.1} s | {:.1} s | {:.1} s |",
            number(boot, "firmware_s")?,
            number(boot, "kernel_s")?,
            number(boot, "ours_s")?,
            number(boot, "total_s")?
        )?;
    }
    table.push_str("\n| process, idle | resident |\n|---|---|\n");
    let memory = figures.get("memory").and_then(Value::as_object).context("no memory")?;
    for (process, mib) in memory {
        writeln!(table, "| {process} | {:.1} MiB |", mib.as_f64().context("no figure")?)?;
    }
    Ok(table)
}

/// Puts a table between its two marks in docs/performance.md.
fn write_table(layout: &Layout, name: &str, table: &str) -> Result<()> {
    let path = layout.root.join("docs/performance.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let renewed = step::between(&text, (&begin, &end), table)
        .with_context(|| format!("{} has no marks for {name}", path.display()))?;
    step::replace_file(&path, renewed.as_bytes())
}
