//! Reading one section of the file: typed access to its keys, and complaints with their line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Problem;
use crate::nearest::nearest;
use crate::value::{Checked, quoted};

/// Most problems that are listed, so that a file of another kind cannot flood console and log.
const MAX_PROBLEMS: usize = 32;

/// What is wrong so far, and the text whose lines it refers to.
#[derive(Debug)]
pub(crate) struct Complaints<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl<'t> Complaints<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// Notes a mistake at byte `at` of the text.
    pub(crate) fn add(&mut self, at: Option<usize>, key: &str, message: String) {
        let line = at.map_or(0, |at| {
            let before = self.text.as_bytes().iter().take(at);
            1 + before.filter(|&&byte| byte == b'\n').count()
        });
        let key = key.to_owned();
        self.problems.push(Problem { line, key, message, consequence: String::new() });
    }

    /// How many mistakes are known: pass it to [`Complaints::settle`].
    pub(crate) fn mark(&self) -> usize {
        self.problems.len()
    }

    /// Says what follows from every mistake noted since `mark`; true where there is one. Those whose
    /// consequence is settled already stay out of it.
    pub(crate) fn settle(&mut self, mark: usize, consequence: &str) -> bool {
        let new = self.problems.get_mut(mark..).unwrap_or_default();
        let mut is_open = false;
        for problem in new.iter_mut().filter(|problem| problem.consequence.is_empty()) {
            consequence.clone_into(&mut problem.consequence);
            is_open = true;
        }
        is_open
    }

    /// All problems in the order of their lines, at most [`MAX_PROBLEMS`] and a closing one.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        let more = self.problems.len().saturating_sub(MAX_PROBLEMS);
        self.problems.truncate(MAX_PROBLEMS);
        if more > 0 {
            self.problems.push(Problem {
                line: 0,
                key: String::new(),
                message: format!("{more} more mistakes: correct these first"),
                consequence: "the same holds for them".to_owned(),
            });
        }
        self.problems
    }
}

/// One table of the file. Each accessor gives `None` where the key is missing or wrong; the
/// latter is noted.
#[derive(Debug)]
pub(crate) struct Section<'c, 'v, 't> {
    /// The keys that lead here, such as `network.port`.
    path: &'static str,
    table: &'v DeTable<'t>,
    /// Byte where the table begins.
    start: usize,
    complaints: &'c mut Complaints<'t>,
}

impl<'v, 't> Section<'_, 'v, 't> {
    /// A number between the bounds.
    pub(crate) fn integer(&mut self, key: &str, least: i128, most: i128) -> Option<i128> {
        let value = self.get(key)?;
        let number = integer(value.get_ref()).filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.complain(
                key,
                Some(value),
                format!("write a number from {least} to {most}, without quotes"),
            );
        }
        number
    }

    /// As [`Section::integer`], for a key that must be there.
    pub(crate) fn required_integer(&mut self, key: &str, least: i128, most: i128) -> Option<i128> {
        if self.get(key).is_none() {
            self.complain(key, None, format!("the key is missing: add {key} = a number"));
        }
        self.integer(key, least, most)
    }

    /// A number as it stands, or a text that `check` turns into one.
    pub(crate) fn amount(&mut self, key: &str, check: fn(&str) -> Checked<u64>) -> Option<u64> {
        let value = self.get(key)?;
        let checked = match value.get_ref() {
            DeValue::Integer(_) => integer(value.get_ref())
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(|| "write a number of bytes from 0 on".to_owned()),
            DeValue::String(text) => check(text),
            _ => Err("write bytes, or a text such as \"32GB\"".to_owned()),
        };
        checked.map_err(|message| self.complain(key, Some(value), message)).ok()
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.complain(key, Some(value), "write true or false, without quotes".to_owned());
        }
        flag
    }

    /// A text that `check` accepts.
    pub(crate) fn text<T>(&mut self, key: &str, check: fn(&str) -> Checked<T>) -> Option<T> {
        let value = self.get(key)?;
        self.checked(key, value, check)
    }

    /// As [`Section::text`], for a key that must be there.
    pub(crate) fn required<T>(&mut self, key: &str, check: fn(&str) -> Checked<T>) -> Option<T> {
        if self.get(key).is_none() {
            self.complain(key, None, format!("the key is missing: add {key} = \"…\""));
        }
        self.text(key, check)
    }

    /// A list of at most `most` texts, each accepted by `check` and none twice.
    pub(crate) fn texts<T: PartialEq>(
        &mut self,
        key: &str,
        most: usize,
        check: fn(&str) -> Checked<T>,
    ) -> Option<Vec<T>> {
        let value = self.get(key)?;
        let Some(list) = value.get_ref().as_array() else {
            let message = format!("write a list in square brackets, such as {key} = [\"…\"]");
            self.complain(key, Some(value), message);
            return None;
        };
        if list.len() > most {
            let message = format!("{} entries are too many: write at most {most}", list.len());
            self.complain(key, Some(value), message);
            return None;
        }
        let mut texts = Vec::with_capacity(list.len());
        let mut whole = true;
        for entry in list.iter() {
            match self.checked(key, entry, check) {
                Some(text) if texts.contains(&text) => {
                    let shown = quoted(entry.get_ref().as_str().unwrap_or_default());
                    self.complain(key, Some(entry), format!("{shown} is there twice: remove one"));
                    whole = false;
                }
                Some(text) => texts.push(text),
                None => whole = false,
            }
        }
        whole.then_some(texts)
    }

    /// Calls `read` for each table of the list `[[path]]`, where `path` ends in `key`.
    pub(crate) fn tables<T>(
        &mut self,
        key: &str,
        path: &'static str,
        known: &[&str],
        most: usize,
        mut read: impl FnMut(&mut Section<'_, 'v, 't>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let message = match value.get_ref().as_array() {
            None => format!("write [[{path}]] with two brackets on each side"),
            Some(list) if list.len() > most => {
                format!("{} entries are too many: write at most {most}", list.len())
            }
            Some(list) => {
                let mut found = Vec::new();
                for entry in list.iter() {
                    if let Some(mut section) = open(path, known, entry, self.complaints) {
                        found.extend(read(&mut section));
                    }
                }
                return found;
            }
        };
        self.complain(key, Some(value), message);
        Vec::new()
    }

    /// Settles by itself what is wrong with that which `read` takes: it costs not the section but what the
    /// consequence says.
    pub(crate) fn by_itself<T>(
        &mut self,
        consequence: &str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mark = self.complaints.mark();
        let found = read(self);
        self.complaints.settle(mark, consequence);
        found
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Notes a mistake of the key; the section's own line where the key is missing.
    pub(crate) fn fault(&mut self, key: &str, message: String) {
        let value = self.get(key);
        self.complain(key, value, message);
    }

    fn get(&self, key: &str) -> Option<&'v Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    fn checked<T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'t>>,
        check: fn(&str) -> Checked<T>,
    ) -> Option<T> {
        let checked = match value.get_ref().as_str() {
            Some(text) => check(text),
            None => Err("write text in double quotes".to_owned()),
        };
        checked.map_err(|message| self.complain(key, Some(value), message)).ok()
    }

    fn complain(&mut self, key: &str, at: Option<&Spanned<DeValue<'t>>>, message: String) {
        let at = at.map_or(self.start, |value| value.span().start);
        self.complaints.add(Some(at), &join(self.path, key), message);
    }
}

/// The table behind `value` as a section, its unknown keys noted; `None` where it is no table.
pub(crate) fn open<'c, 'v, 't>(
    path: &'static str,
    known: &[&str],
    value: &'v Spanned<DeValue<'t>>,
    complaints: &'c mut Complaints<'t>,
) -> Option<Section<'c, 'v, 't>> {
    let Range { start, .. } = value.span();
    let Some(table) = value.get_ref().as_table() else {
        complaints.add(Some(start), path, format!("write a section: [{path}] on its own line"));
        return None;
    };
    for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
        let message = unknown(key.get_ref(), known);
        complaints.add(Some(key.span().start), &join(path, &shown(key.get_ref())), message);
    }
    Some(Section { path, table, start, complaints })
}

/// What to say of a key or section that is not known.
pub(crate) fn unknown(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(nearest) => format!("the key is not known: did you mean {nearest}?"),
        None => format!("the key is not known: known are {}", known.join(", ")),
    }
}

/// A key of the file as it is shown: escaped and short.
pub(crate) fn shown(key: &str) -> String {
    quoted(key).trim_matches('"').to_owned()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The number in a value; `None` where it is none or does not fit.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}
