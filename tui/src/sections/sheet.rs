//! What takes the place of a screen.

use agent_api::local::RECOVERY_WORDS;
use agent_api::support::{Fact, Inventory, SupportWritten};
use ratatui::text::Line;

use super::{Tone, form, span, steps};
use crate::sheet::{Sheet, Support};
use crate::state::State;
use crate::text::{decimal_size, duration, safe, wrap, wrap_hanging};

/// Columns of a recovery word with its number; the longest words have eight letters (BIP 39).
const WORD: usize = 14;

/// A sheet's lines.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The words in the rule above it.
    pub(crate) title: String,
    /// All of its lines.
    pub(crate) lines: Vec<Line<'static>>,
    /// The line, from 1, that is to be seen whatever else is not; 0 for none.
    pub(crate) focus: usize,
    /// Lines scrolled away above.
    pub(crate) scroll: usize,
}

/// What is shown in the place of the screen; none where that is shown.
pub(crate) fn page(state: &State, width: usize) -> Option<Page> {
    let Some(sheet) = &state.sheet else {
        return state.steps.is_open.then(|| steps::page(state, width));
    };
    let text = |paragraphs: &[String]| {
        let lines = paragraphs.iter().flat_map(|text| wrap(&safe(text), width));
        lines.map(Line::from).collect::<Vec<_>>()
    };
    let at_top = |title: &str, lines| Page { title: title.to_owned(), lines, focus: 0, scroll: 0 };
    Some(match sheet {
        Sheet::Network(network) => of_form("Set a port up", &network.form, width),
        Sheet::Test(test) => of_form("Test the network", test, width),
        Sheet::Pin(pin) => of_form("The PIN that guards changes on this console", pin, width),
        Sheet::Reader { title, lines, scroll } => {
            let lines = match lines {
                Some(lines) => reading(lines, width),
                None => vec![Line::from(span(Tone::Faint, "waiting for the answer ..."))],
            };
            Page { title: title.clone(), lines, focus: 0, scroll: *scroll }
        }
        Sheet::Words { words, until } => {
            let left = until.saturating_sub(state.now).as_secs().div_ceil(10) * 10;
            let mut lines = words_table(words.reveal(), width);
            lines.push(Line::default());
            let last = format!("Blanked in {left} s without a key, or by Esc.");
            lines.push(Line::from(span(Tone::Warning, last)));
            at_top("Recovery words: for paper, not for pictures", lines)
        }
        Sheet::Support(support) => at_top("Support bundle", text(&support_text(support, state))),
        Sheet::Reset => at_top("Factory reset", text(&reset_text())),
    })
}

fn of_form(title: &str, form: &crate::form::Form, width: usize) -> Page {
    let (lines, focus) = form::lines(form, width);
    Page { title: title.to_owned(), lines, focus, scroll: 0 }
}

fn reading(lines: &[String], width: usize) -> Vec<Line<'static>> {
    let of = |line: &String| {
        let tone = if line.starts_with("! ") { Tone::Bad } else { Tone::Plain };
        let indent = line.chars().take_while(|c| *c == ' ').count().min(width / 2);
        let (first, rest) = (width - indent, width.saturating_sub(indent + 2));
        let wrapped = wrap_hanging(&safe(line), first, rest).into_iter().enumerate();
        wrapped
            .map(|(index, text)| {
                let indent = if index == 0 { indent } else { indent + 2 };
                Line::from(span(tone, " ".repeat(indent) + &text))
            })
            .collect::<Vec<_>>()
    };
    lines.iter().flat_map(of).collect()
}

/// The words in columns, each with its number, read downwards.
fn words_table(words: &str, width: usize) -> Vec<Line<'static>> {
    let words: Vec<&str> = words.split_whitespace().take(RECOVERY_WORDS).collect();
    let columns = (width / WORD).clamp(1, 4);
    let rows = words.len().div_ceil(columns).max(1);
    let row = |row: usize| {
        let places = (0..columns).map(|column| row + column * rows);
        let cells = places.filter_map(|place| words.get(place).map(|word| (place + 1, word)));
        let text: String = cells
            .map(|(number, word)| format!("{:<WORD$}", format!("{number:2} {word}")))
            .collect();
        Line::from(text.trim_end().to_owned())
    };
    (0..rows).map(row).collect()
}

fn support_text(support: &Support, state: &State) -> Vec<String> {
    match support {
        Support::Asked => {
            let keys = state.status.as_ref().map_or(0, |status| status.support_recipients);
            let keys = match keys {
                1 => "the key".to_owned(),
                more => format!("each of the {more} keys"),
            };
            vec![
                "Log, state and inventory of the node, without keys and passwords, as one file.".into(),
                String::new(),
                format!(
                    "It is encrypted: only {keys} that [support] of node.toml names can open it, not this \
                     node."
                ),
                String::new(),
                "Plug in a stick with a partition that is labelled ICN-SUPPORT. Nothing else on it is \
                 changed."
                    .into(),
            ]
        }
        Support::Writing { since } => {
            let time = duration(state.now.saturating_sub(*since));
            vec![
                format!("Being written for {time} ... Leave the stick where it is."),
                "It goes on when this is left; what came of it is told then.".into(),
            ]
        }
        Support::Written(written) => written_text(written),
        Support::Failed(reason) => vec![format!("! Not written: {reason}")],
    }
}

fn written_text(written: &SupportWritten) -> Vec<String> {
    let SupportWritten { device, file, size_bytes, verified, recipients } = written;
    let read = if *verified { "read back and found the same" } else { "NOT read back" };
    let mut text = vec![
        format!("File: {file}"),
        format!("Stick: {device}, may be taken out"),
        format!("Size: {}, {read}", decimal_size(*size_bytes)),
        String::new(),
        "Can be opened with the key of:".into(),
    ];
    text.extend(recipients.iter().cloned());
    text
}

fn reset_text() -> Vec<String> {
    [
        "Lost either way: all objects, buckets and users; the settings of the network that were made on \
         the node; the PIN that was set on it.",
        "",
        "1  keeps the node's id, daemon key and certificate: it is the same node on chain, empty.",
        "",
        "2  destroys the daemon key and the certificate too: a new daemon key has to be bound, and what is \
         not claimed yet is claimed by the HP's own key.",
        "",
        "Kept either way: node.toml on the stick. The machine restarts.",
        "",
        "1 or 2 asks once more before anything is done.",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What a node is made of, a line for each part.
pub(crate) fn inventory(found: &Inventory) -> Vec<String> {
    let groups: [(&str, &[Fact]); 6] = [
        ("Machine", &found.machine),
        ("Processors", &found.processors),
        ("Memory", &found.memory),
        ("Ports", &found.ports),
        ("Disks", &found.disks),
        ("Other devices", &found.devices),
    ];
    let mut lines = Vec::new();
    for (name, facts) in groups {
        lines.push(name.to_owned());
        lines.extend(facts.iter().map(|fact| format!("  {}: {}", fact.name, fact.text)));
        if facts.is_empty() {
            lines.push("  nothing is known".to_owned());
        }
    }
    lines.extend(found.problems.iter().map(|problem| format!("! {problem}")));
    lines
}

/// That settings of the network are tried, for every screen; none where none are.
pub(crate) fn banner(state: &State) -> Option<String> {
    let left = state.trial()?;
    let keys = match (&state.dialog, &state.sheet) {
        (Some(_), _) => "Esc, then y keep  n take back",
        (_, Some(sheet)) if sheet.takes_text() => "Esc, then y keep  n take back",
        _ => "y keep  n take back",
    };
    Some(format!("! Network on trial, {left} s left: {keys}"))
}
