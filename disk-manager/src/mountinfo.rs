//! The text of /proc/self/mountinfo. Pure; the fuzzer takes this file as it is.

use std::path::PathBuf;

/// One line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Device number as `major:minor`.
    pub device: String,
    /// Where it is mounted.
    pub at: PathBuf,
    /// What was mounted, such as `/dev/sda1`.
    pub source: String,
}

/// What is mounted, in the form of proc_pid_mountinfo(5). A line of another form is left out.
pub(crate) fn parse_mountinfo(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        let device = fields.nth(2)?.to_owned();
        let at = PathBuf::from(unescape(fields.nth(1)?));
        let source = unescape(fields.skip_while(|field| *field != "-").nth(2)?);
        Some(Mount { device, at, source })
    };
    text.lines().filter_map(parse).collect()
}

/// Space, tab, newline and backslash stand as three octal digits behind a backslash.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) if code.is_ascii() => {
                out.push(char::from(code));
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_what_is_none_stays() {
        assert_eq!(unescape(r"a\040b\134c\x"), r"a b\c\x");
    }
}
