//! Patterns for paths in a package.

use std::fmt;

/// A path below the root of a package: `*` stands for any characters within one name, a trailing
/// `/**` for everything below a directory.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Whether a path, without a leading slash, matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        if let Some(dir) = self.0.strip_suffix("/**") {
            let depth = dir.split('/').count();
            let mut names = path.split('/');
            let head: Vec<&str> = names.by_ref().take(depth).collect();
            return names.next().is_some() && same_path(dir, &head.join("/"));
        }
        same_path(&self.0, path)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn same_path(pattern: &str, path: &str) -> bool {
    pattern.split('/').count() == path.split('/').count()
        && pattern.split('/').zip(path.split('/')).all(|(pattern, name)| same_name(pattern, name))
}

/// Whether a name matches a pattern of literal pieces between stars: the first piece at the start,
/// the last at the end, the others in order between them.
fn same_name(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = name.strip_prefix(first).and_then(|left| left.strip_suffix(last)) else {
        return false;
    };
    for piece in middle.split('*') {
        match left.find(piece) {
            Some(at) => left = left.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, path, expected) in [
            ("usr/bin/kmod", "usr/bin/kmod", true),
            ("usr/bin/kmod", "usr/bin/kmod2", false),
            ("usr/lib/*/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6", true),
            ("usr/lib/*/libc.so.6", "usr/lib/a/b/libc.so.6", false),
            ("usr/lib/libblkid.so.*", "usr/lib/libblkid.so.1.1.0", true),
            ("usr/lib/libblkid.so.*", "usr/lib/libblkid.so", false),
            ("a*b*c", "axxbxxc", true),
            ("a*b*c", "axxc", false),
            ("aa*aa", "aaa", false),
            ("usr/share/**", "usr/share/a/b", true),
            ("usr/share/**", "usr/share", false),
            ("usr/*/x/**", "usr/lib/x/y", true),
            ("usr/*/x/**", "usr/lib/z/y", false),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).matches(path), expected, "{pattern} on {path}");
        }
    }
}
