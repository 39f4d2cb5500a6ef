//! Listing with prefix and delimiter over any ordered map of keys.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::names::{ETag, ObjectKey, UnixMillis, UploadId, VersionId};
use crate::object::UploadInfo;

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only keys that start so.
    pub prefix: String,
    /// Folds keys that have this text behind the prefix into one entry up to it.
    pub delimiter: Option<String>,
    /// Where to go on.
    pub after: Option<After>,
    /// At most so many entries, prefixes included.
    pub limit: usize,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Behind this key; it need not exist.
    Key(String),
    /// Behind every key that starts so.
    Prefix(String),
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// An object.
    Object(ObjectSummary),
    /// At least one key starts so, delimiter included.
    Prefix(String),
}

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSummary {
    /// The key.
    pub key: ObjectKey,
    /// Its present version.
    pub version: VersionId,
    /// Its entity tag.
    pub etag: ETag,
    /// Size in bytes.
    pub size: u64,
    /// When it was published.
    pub modified: UnixMillis,
}

/// Some entries of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// The entries in the order of their bytes.
    pub entries: Vec<ListEntry>,
    /// Where to go on; none at the end.
    pub next: Option<After>,
}

/// Which uploads to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadQuery {
    /// Only keys that start so.
    pub prefix: String,
    /// Folds keys that have this text behind the prefix into one entry up to it.
    pub delimiter: Option<String>,
    /// Where to go on: behind this key, or behind this upload of it.
    pub after: Option<(After, Option<UploadId>)>,
    /// At most so many entries, prefixes included.
    pub limit: usize,
}

/// Some open uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadPage {
    /// Uploads by key and upload.
    pub uploads: Vec<UploadInfo>,
    /// Keys folded at the delimiter.
    pub prefixes: Vec<String>,
    /// Where to go on; none at the end.
    pub next: Option<(After, Option<UploadId>)>,
}

/// A step of a walk over keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step<'a, V> {
    /// A key of its own.
    Key(&'a ObjectKey, &'a V),
    /// All keys that start so.
    Folded(&'a str),
}

/// Walks a map of keys in order, folding at the delimiter. After a folded prefix the walk seeks
/// behind it, so its cost follows the steps it gives.
#[derive(Debug)]
pub(crate) struct Walk<'a, V> {
    map: &'a BTreeMap<ObjectKey, V>,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    from: Option<Bound<Vec<u8>>>,
}

impl<'a, V> Walk<'a, V> {
    pub(crate) fn new(
        map: &'a BTreeMap<ObjectKey, V>,
        prefix: &'a str,
        delimiter: Option<&'a str>,
        after: Option<&After>,
    ) -> Self {
        let start = Bound::Included(prefix.as_bytes().to_vec());
        let from = match after {
            None => Some(start),
            Some(After::Key(key)) if key.as_bytes() < prefix.as_bytes() => Some(start),
            Some(After::Key(key)) => Some(Bound::Excluded(key.as_bytes().to_vec())),
            Some(After::Prefix(done)) => match successor(done.as_bytes()) {
                Some(next) if next.as_slice() < prefix.as_bytes() => Some(start),
                Some(next) => Some(Bound::Included(next)),
                None => None,
            },
        };
        let delimiter = delimiter.filter(|d| !d.is_empty());
        Self { map, prefix, delimiter, from }
    }
}

impl<'a, V> Iterator for Walk<'a, V> {
    type Item = Step<'a, V>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.from.take()?;
        let lower = match &from {
            Bound::Included(bytes) => Bound::Included(bytes.as_slice()),
            Bound::Excluded(bytes) => Bound::Excluded(bytes.as_slice()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let (key, value) = self.map.range::<[u8], _>((lower, Bound::Unbounded)).next()?;
        let rest = key.as_str().strip_prefix(self.prefix)?;
        let folded = self.delimiter.and_then(|d| {
            let end = self.prefix.len() + rest.find(d)? + d.len();
            key.as_str().get(..end)
        });
        if let Some(folded) = folded {
            self.from = successor(folded.as_bytes()).map(Bound::Included);
            return Some(Step::Folded(folded));
        }
        self.from = Some(Bound::Excluded(key.as_str().as_bytes().to_vec()));
        Some(Step::Key(key, value))
    }
}

/// The least byte string that is greater than every one that starts with `prefix`; none if there is
/// no such string.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if last < u8::MAX {
            next.push(last + 1);
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(keys: &[&str]) -> BTreeMap<ObjectKey, ()> {
        keys.iter().map(|k| (ObjectKey::new(k).unwrap(), ())).collect()
    }

    fn walk(
        map: &BTreeMap<ObjectKey, ()>,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&After>,
    ) -> Vec<String> {
        Walk::new(map, prefix, delimiter, after)
            .map(|step| match step {
                Step::Key(key, ()) => key.to_string(),
                Step::Folded(prefix) => format!("{prefix}*"),
            })
            .collect()
    }

    #[test]
    fn keys_fold_at_the_first_delimiter_behind_the_prefix() {
        let map = map(&["a", "a/", "a/b", "a/c/d", "a//x", "b/c", "z"]);
        assert_eq!(walk(&map, "", Some("/"), None), ["a", "a/*", "b/*", "z"]);
        assert_eq!(walk(&map, "a/", Some("/"), None), ["a/", "a//*", "a/b", "a/c/*"]);
        assert_eq!(walk(&map, "a", None, None), ["a", "a/", "a//x", "a/b", "a/c/d"]);
    }

    #[test]
    fn a_listing_goes_on_behind_a_key_or_a_prefix() {
        let map = map(&["a", "a/b", "a/c", "b"]);
        let key = |k: &str| Some(After::Key(k.to_owned()));
        assert_eq!(walk(&map, "", Some("/"), key("a").as_ref()), ["a/*", "b"]);
        assert_eq!(walk(&map, "", Some("/"), key("a/b").as_ref()), ["a/*", "b"]);
        let prefix = Some(After::Prefix("a/".to_owned()));
        assert_eq!(walk(&map, "", Some("/"), prefix.as_ref()), ["b"]);
        assert_eq!(walk(&map, "b", None, prefix.as_ref()), ["b"]);
        assert_eq!(walk(&map, "a", None, key("b").as_ref()), Vec::<String>::new());
    }

    #[test]
    fn nothing_follows_the_greatest_prefix() {
        assert_eq!(successor(&[0xff, 0xff]), None);
        assert_eq!(successor(b"a\xff"), Some(b"b".to_vec()));
    }

    proptest! {
        #[test]
        fn folding_page_by_page_gives_what_folding_at_once_gives(
            keys in proptest::collection::btree_set("[ab/]{1,6}", 0..40),
            prefix in "[ab/]{0,2}",
        ) {
            let map: BTreeMap<_, _> =
                keys.iter().map(|k| (ObjectKey::new(k).unwrap(), ())).collect();
            let mut expect: Vec<String> = Vec::new();
            for key in keys.iter().filter(|k| k.starts_with(&prefix)) {
                let entry = match key[prefix.len()..].find('/') {
                    Some(at) => format!("{}*", &key[..=prefix.len() + at]),
                    None => key.clone(),
                };
                if expect.last() != Some(&entry) {
                    expect.push(entry);
                }
            }
            prop_assert_eq!(&walk(&map, &prefix, Some("/"), None), &expect);
            let mut paged = Vec::new();
            let mut after = None;
            while let Some(step) = Walk::new(&map, &prefix, Some("/"), after.as_ref()).next() {
                let (text, next) = match step {
                    Step::Key(key, ()) => (key.to_string(), After::Key(key.to_string())),
                    Step::Folded(p) => (format!("{p}*"), After::Prefix(p.to_owned())),
                };
                paged.push(text);
                after = Some(next);
            }
            prop_assert_eq!(&paged, &expect);
        }
    }
}
