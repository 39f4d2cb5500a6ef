//! The receipts of an era's challenges, which the HP shows where an oracle's vote hides one.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use agent_api::client::AgentClient;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Answer;

/// `result` of a receipt of a challenge that was passed (agent-sla, `PASSED`).
const PASSED: u64 = 1;

/// Shows the receipts of an era.
///
/// # Errors
/// The agent does not answer, or refuses.
pub(super) fn shown(era: u64, agent: &mut AgentClient) -> Result<Answer> {
    let receipts = agent.receipts(era)?;
    let text = words(era, &receipts);
    Ok(Answer { text, json: json!(receipts), needs_attention: false })
}

/// Writes the receipts of an era to a file, as `icn-settle` reads them.
///
/// # Errors
/// The agent does not answer, or refuses; there is no receipt; or the file is there already, or cannot be written.
pub(super) fn written(era: u64, file: &Path, agent: &mut AgentClient) -> Result<Answer> {
    let receipts = agent.receipts(era)?;
    ensure!(!receipts.is_empty(), "era {era}: no receipt; nothing was written");
    let text = serde_json::to_string_pretty(&receipts).context("cannot write JSON")? + "\n";
    write_new(file, &text)?;
    let (count, file) = (receipts.len(), file.display());
    let done = format!("{count} receipt(s) of era {era} are in {file}");
    let json = json!({ "done": done });
    Ok(Answer { text: done + "\n", json, needs_attention: false })
}

/// Writes a file that is not there yet: aside, synced, renamed, and its folder synced.
fn write_new(file: &Path, text: &str) -> Result<()> {
    let name = file.display();
    ensure!(fs::symlink_metadata(file).is_err(), "{name} is there already: choose another name");
    let writing = || format!("cannot write {name}");
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&aside)
        .with_context(|| format!("cannot make {}", Path::new(&aside).display()))?;
    let done = opened
        .write_all(text.as_bytes())
        .and_then(|()| opened.sync_all())
        .and_then(|()| fs::rename(&aside, file));
    if done.is_err() {
        // What is left of it is of no use; that it stays is no worse than the first error.
        let _ = fs::remove_file(&aside);
    }
    done.with_context(writing)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(writing)
}

/// A line for each receipt.
fn words(era: u64, receipts: &[Value]) -> String {
    let mut text = match receipts.len() {
        0 => format!("era {era}: no receipt\n"),
        count => format!("era {era}: {count} receipt(s)\n"),
    };
    for kept in receipts {
        let number = |path: &str| kept.pointer(path).and_then(Value::as_u64);
        let oracle = kept.get("oracle").and_then(Value::as_str).unwrap_or("unknown oracle");
        let result = match number("/receipt/message/result") {
            Some(PASSED) => "passed",
            Some(_) => "failed",
            None => "unknown",
        };
        let known = |path| number(path).map_or("unknown".to_owned(), |count| count.to_string());
        let objects = known("/request/message/objects");
        let bytes = known("/request/message/totalBytes");
        text.push_str(&format!("{oracle}  {result}  {objects} objects, {bytes} bytes\n"));
    }
    // From a file of a data disk: nothing of it may move a terminal's cursor.
    text.lines().map(|line| crate::text::printable(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receipt_lacks_is_unknown_and_what_it_has_is_no_control_character() {
        let receipts = [json!({ "oracle": "0x\u{1b}[2J" }), json!(7)];
        let text = words(3, &receipts);
        assert!(text.starts_with("era 3: 2 receipt(s)\n"), "{text}");
        assert!(text.ends_with("unknown oracle  unknown  unknown objects, unknown bytes\n"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(words(4, &[]), "era 4: no receipt\n");
    }
}
