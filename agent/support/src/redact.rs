//! Takes secrets out of texts: those that are known by their value, and whatever looks like one by what stands
//! before it. Too much rather than too little.

use serde_json::Value;
use zeroize::Zeroizing;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Values shorter than this are not looked for: they would stand in every other word.
const SHORTEST: usize = 4;

/// Words of a name whose value is secret. `x-amz-signature` has three words, of which one is here.
const SECRET_WORDS: [&str; 18] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pin",
    "token",
    "authorization",
    "signature",
    "credential",
    "private",
    "mnemonic",
    "words",
    "apikey",
    "cookie",
    "keystore",
    "secretkey",
    "privatekey",
    "auth",
];

/// What begins a word that is itself a secret: private keys of age.
const SECRET_START: &str = "AGE-SECRET-KEY-";

/// How many words in a row that could be those of a key are taken for them: the fewest that BIP 39 has.
const RECOVERY_RUN: usize = 12;

/// Shortest and longest word of BIP 39, in letters.
const RECOVERY_WORD: std::ops::RangeInclusive<usize> = 3..=8;

/// Digits of a key of 256 bits in hex.
const KEY_DIGITS: usize = 64;

/// Takes out what is known to be secret, and what looks so.
pub struct Redactor {
    /// The longest first, so that one that holds another goes as a whole.
    values: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("values", &self.values.len()).finish()
    }
}

impl Redactor {
    /// For a node that knows these secrets.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Zeroizing<String>>) -> Self {
        let mut values = Vec::new();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST) {
            let json = serde_json::to_string(secret.as_str()).unwrap_or_default();
            let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
            for form in [inner, percent_encoded(&secret), secret.escape_debug().to_string()] {
                if form != *secret && form.len() >= SHORTEST {
                    values.push(Zeroizing::new(form));
                }
            }
            values.push(secret);
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self { values }
    }

    /// A text of any number of lines, such as a log.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut within_key = false;
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            out.push_str(&self.line(line, &mut within_key));
        }
        out
    }

    /// One line; `within_key` is whether a private key in PEM is under way, and begins as false.
    #[must_use]
    pub fn line(&self, line: &str, within_key: &mut bool) -> String {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY");
        if begins || *within_key {
            // A whole key may stand in one line, with its line breaks escaped.
            *within_key = !line.contains("-----END");
            return format!("{REDACTED}{end}");
        }
        let mut line = line.to_owned();
        for value in &self.values {
            if line.contains(value.as_str()) {
                line = line.replace(value.as_str(), REDACTED);
            }
        }
        without_recovery_words(&without_named(&without_private(&line)))
    }

    /// A JSON document; what is secret by its name, or holds a secret, is a text that says so.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|one| self.json(one)),
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    let is_key = is_key(name) && member.as_str().is_some_and(is_key_value);
                    if (is_secret(name) && !member.is_null() && !member.is_object()) || is_key {
                        *member = Value::String(REDACTED.to_owned());
                    } else {
                        self.json(member);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The text of `node.toml`, of which the lines `faulty` (from 1) have mistakes; none where it has mistakes of form.
    /// On a line with a mistake all that stands behind a name goes, and where nothing says where a value ends, on all of
    /// them. Paths of URLs go, as keys of servers stand there.
    #[must_use]
    pub fn toml(&self, text: &str, faulty: Option<&[usize]>) -> String {
        let shown = match faulty {
            Some(faulty) => text
                .split_inclusive('\n')
                .zip(1..)
                .map(|(line, number)| match line.split_once('=') {
                    Some((name, _)) if faulty.contains(&number) => format!("{name}= {REDACTED}\n"),
                    None if faulty.contains(&number) => format!("{REDACTED}\n"),
                    _ => without_paths(line),
                })
                .collect::<String>(),
            None => text
                .lines()
                .filter_map(|line| match line.split_once('=') {
                    Some((name, _)) => Some(format!("{name}= {REDACTED}\n")),
                    None => line.trim_start().starts_with('[').then(|| format!("{line}\n")),
                })
                .collect::<String>(),
        };
        self.text(&shown)
    }
}

/// Whether what is called so is secret.
fn is_secret(name: &str) -> bool {
    words(name).any(|word| SECRET_WORDS.contains(&word.to_ascii_lowercase().as_str()))
}

/// Whether what is called so may be a key.
fn is_key(name: &str) -> bool {
    let has = |wanted: &str| words(name).any(|word| word.eq_ignore_ascii_case(wanted));
    has("key") && !has("public")
}

/// The words of a name: between marks, and where a capital follows a small letter.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric()).flat_map(|part| {
        let bytes = part.as_bytes();
        let is_start = |at: &usize| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            let here = bytes.get(*at);
            before.is_some_and(u8::is_ascii_lowercase) && here.is_some_and(u8::is_ascii_uppercase)
        };
        let starts: Vec<usize> = (0..part.len()).filter(|at| *at == 0 || is_start(at)).collect();
        let ends: Vec<usize> = starts.iter().skip(1).copied().chain([part.len()]).collect();
        let spans: Vec<_> = starts.into_iter().zip(ends).collect();
        spans.into_iter().filter_map(move |(start, end)| part.get(start..end))
    })
}

/// Whether a value is a key of 256 bits in hex.
fn is_key_value(value: &str) -> bool {
    let digits = value.strip_prefix("0x").unwrap_or(value);
    digits.len() == KEY_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Replaces values behind names that say that they are secret: `name=value`, `name: value`, `"name": "value"`.
fn without_named(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = halves(rest, at + 1);
        out.push_str(before);
        rest = after;
        let name = name_before(halves(before, at).0);
        let value = after.trim_start_matches([' ', '\t']);
        let blanks = halves(after, after.len() - value.len()).0;
        let secret = is_secret(name);
        let length = value_length(value, secret && takes_line(name));
        let (value, behind) = halves(value, length);
        let bare = value.trim_matches(['"', '\'', '\\']);
        if (secret || (is_key(name) && is_key_value(bare))) && !bare.is_empty() {
            out.push_str(blanks);
            let quote = if value.starts_with('"') { "\"" } else { "" };
            out.push_str(quote);
            out.push_str(REDACTED);
            out.push_str(quote);
            rest = behind;
        }
    }
    out + rest
}

/// The name that ends here.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t', '"', '\'', '\\']);
    let start = text.rfind(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.'));
    let mark = |at| halves(text, at).1.chars().next().map_or(1, char::len_utf8);
    halves(text, start.map_or(0, |at| at + mark(at))).1
}

/// Whether the value of such a name has blanks and marks within, as headers and recovery words have.
fn takes_line(name: &str) -> bool {
    words(name).any(|word| {
        ["authorization", "words", "mnemonic", "cookie", "passphrase"]
            .iter()
            .any(|wanted| word.eq_ignore_ascii_case(wanted))
    })
}

/// How many bytes of a text are the value at its beginning.
fn value_length(value: &str, takes_line: bool) -> usize {
    let whole = value.trim_end_matches(['\r', '\n']).len();
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let mut escaped = false;
            for (at, c) in value.char_indices().skip(1) {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    c if c == quote => return at + 1,
                    _ => {}
                }
            }
            whole
        }
        Some('[') => value.find(']').map_or(whole, |at| at + 1),
        // An object: what is in it has names of its own.
        Some('{') => 0,
        _ if takes_line => whole,
        _ => {
            let end =
                |c: char| c.is_whitespace() || matches!(c, ',' | '&' | ';' | '"' | '\'' | '}');
            value.find(end).unwrap_or(value.len()).min(whole)
        }
    }
}

/// Replaces words that are private keys by themselves, and what stands before the @ of a URL.
fn without_private(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    loop {
        let key = rest.to_ascii_uppercase().find(SECRET_START);
        let behind = |at: usize| halves(rest, at + "://".len()).1;
        let url = rest.find("://").filter(|at| user_length(behind(*at)) > 0);
        let (start, length) = match (key, url) {
            (None, None) => return out + rest,
            (Some(key), url) if url.is_none_or(|url| key < url) => {
                let end = |c: char| !c.is_ascii_alphanumeric() && c != '-';
                let tail = halves(rest, key).1;
                (key, tail.find(end).unwrap_or(tail.len()))
            }
            (_, Some(url)) => (url + "://".len(), user_length(behind(url))),
            (Some(_), None) => return out + rest,
        };
        let (before, after) = halves(rest, start);
        out.push_str(before);
        out.push_str(REDACTED);
        rest = halves(after, length).1;
    }
}

/// The length of `user:password` where a URL's host begins; 0 where there is none.
fn user_length(text: &str) -> usize {
    let end = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#');
    let place = halves(text, text.find(end).unwrap_or(text.len())).0;
    place.rfind('@').unwrap_or(0)
}

/// Replaces what stands behind the host of URLs.
fn without_paths(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = halves(rest, at + "://".len());
        out.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',');
        let (url, behind) = halves(after, after.find(is_end).unwrap_or(after.len()));
        let (host, path) = halves(url, url.find(['/', '?', '#']).unwrap_or(url.len()));
        out.push_str(host);
        if path.len() > 1 {
            out.push('/');
            out.push_str(REDACTED);
        }
        rest = behind;
    }
    out + rest
}

/// Replaces twelve or more words in a row that could be those of a key.
fn without_recovery_words(line: &str) -> String {
    let could_be = |word: &&str| {
        RECOVERY_WORD.contains(&word.len()) && word.bytes().all(|c| c.is_ascii_lowercase())
    };
    let bare = |piece: &'_ str| piece.trim_matches(['"', '\'', '\n', '\r']).to_owned();
    let pieces: Vec<&str> = line.split(' ').collect();
    let mut out: Vec<&str> = Vec::with_capacity(pieces.len());
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let run =
            pieces.iter().skip(at).take_while(|piece| could_be(&bare(piece).as_str())).count();
        if run >= RECOVERY_RUN {
            out.push(REDACTED);
            at += run;
            if pieces.get(at - 1).is_some_and(|last| last.ends_with('\n')) {
                out.push("\n");
            }
        } else {
            out.push(piece);
            at += 1;
        }
    }
    out.join(" ")
}

/// A text before and from a byte on; all of it is before where no character begins there.
fn halves(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// As it stands in a URL (RFC 3986, 2.1).
fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
