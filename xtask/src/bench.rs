//! `cargo xtask bench`: measures, and renews the tables of docs/performance.md.

use std::fmt::Write as _;
use std::fs;

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
    /// PUT and GET through the agent on this machine.
    S3,
}

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure; everything, where none is named.
    subjects: Vec<Subject>,
}

/// Measures, prints the tables, writes them into docs/performance.md and the figures as JSON into
/// `bench/` below cargo's target directory.
///
/// # Errors
///
/// When something cannot be built or measured.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(Need::ALL)?;
    let layout = Layout::find()?;
    let built = image::build(&layout, Compression::Release)?;
    let chosen = if args.subjects.is_empty() { Subject::value_variants() } else { &args.subjects };
    for subject in chosen {
        let table = match subject {
            Subject::Image => format!("```text\n{}\n```\n", built.sizes.table().trim_end()),
            Subject::Boot => boot_table(&measure(&layout, &built, "boot")?)?,
            Subject::S3 => s3_table(&measure(&layout, &built, "s3")?)?,
        };
        let name =
            subject.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        println!("{name}\n\n{table}");
        write_table(&layout, &name, &table)?;
    }
    Ok(())
}

/// Runs the measuring program, which drives built artefacts, and keeps its JSON.
fn measure(layout: &Layout, built: &image::Built, subject: &str) -> Result<Value> {
    let text = step::timed(&format!("measuring {subject}"), || {
        let mut command = process::command(&layout::cargo().to_string_lossy());
        command
            .current_dir(&layout.root)
            .args(["run", "--quiet", "--release", "--locked", "-p", "e2e", "--bin", "bench", "--"])
            .arg(subject)
            .env("ICN_IMAGE_DIR", &built.image_dir)
            .env("ICN_BIN_DIR", &built.bin_dir);
        process::output(&mut command)
    })?;
    let dir = layout.target.join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    step::replace_file(&dir.join(format!("{subject}.json")), text.as_bytes())?;
    serde_json::from_str(&text).context("the measuring program printed no JSON")
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

fn s3_table(figures: &Value) -> Result<String> {
    let mut table = String::from(
        "| work | clients | rate | p50 | p99 | server CPU each | beside it, in the same run | ratio |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in figures.get("rows").and_then(Value::as_array).context("no rows")? {
        let cell = |name: &str, unit: &str| {
            number(row, name).map_or_else(|_| "–".to_owned(), |value| format!("{value:.1} {unit}"))
        };
        let rate = number(row, "per_second")
            .map(|rate| format!("{rate:.0}/s"))
            .or_else(|_| number(row, "mib_per_second").map(|rate| format!("{rate:.0} MiB/s")))?;
        let limit = row.get("limit").and_then(Value::as_str).map_or_else(
            || "–".to_owned(),
            |name| {
                let rate = number(row, "limit_per_second")
                    .map(|rate| format!("{rate:.0}/s"))
                    .or_else(|_| {
                        number(row, "limit_mib_per_second").map(|rate| format!("{rate:.0} MiB/s"))
                    })
                    .unwrap_or_else(|_| "–".to_owned());
                format!("{name}: {rate}")
            },
        );
        writeln!(
            table,
            "| {} | {} | {rate} | {} | {} | {} | {limit} | {} |",
            row.get("work").and_then(Value::as_str).context("no work")?,
            number(row, "clients")?,
            cell("p50_ms", "ms"),
            cell("p99_ms", "ms"),
            cell("server_cpu_us", "µs"),
            number(row, "ratio").map_or_else(|_| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        )?;
    }
    Ok(table)
}

/// Puts a table between its two marks in docs/performance.md.
fn write_table(layout: &Layout, name: &str, table: &str) -> Result<()> {
    let path = layout.root.join("docs/performance.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let renewed = between(&text, &begin, &end, table)
        .with_context(|| format!("{} has no marks for {name}", path.display()))?;
    step::replace_file(&path, renewed.as_bytes())
}

/// The text with what stands between two marks replaced.
fn between(text: &str, begin: &str, end: &str, table: &str) -> Option<String> {
    let (head, rest) = text.split_once(begin)?;
    let (_, tail) = rest.split_once(end)?;
    Some(format!("{head}{begin}\n\n{}\n\n{end}{tail}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_only_what_stands_between_its_marks() {
        let text = "head\n<!-- a: begin -->\nold\n<!-- a: end -->\ntail\n";
        let renewed = between(text, "<!-- a: begin -->", "<!-- a: end -->", "new\n").unwrap();
        assert_eq!(renewed, "head\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\ntail\n");
        assert_eq!(between(text, "<!-- b: begin -->", "<!-- b: end -->", "new"), None);
    }
}
