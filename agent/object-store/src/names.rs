//! The names of things: buckets, keys, versions, uploads, volumes. Every one is checked when it is
//! made, so the rest of the crate never meets a bad one.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest bucket name in bytes (S3: 3 to 63 characters).
pub const BUCKET_MAX_BYTES: usize = 63;

/// Longest object key in bytes of UTF-8 (S3: 1024).
pub const KEY_MAX_BYTES: usize = 1024;

/// Highest number of a part (S3: 1 to 10,000).
pub const PART_NUMBER_MAX: u16 = 10_000;

/// Longest entity tag in bytes; `<32 hex digits>-10000` needs 38.
const ETAG_MAX_BYTES: usize = 64;

/// Longest name of an owner, a volume or a pool in bytes.
const LABEL_MAX_BYTES: usize = 64;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} is not valid: {reason}")]
pub struct NameError {
    /// What was to be named, such as `bucket`.
    pub kind: &'static str,
    /// The name as it was given, cut to 80 characters.
    pub name: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

fn refuse<T>(kind: &'static str, name: &str, reason: &'static str) -> Result<T, NameError> {
    Err(NameError { kind, name: name.chars().take(80).collect(), reason })
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    };
}

text_name! {
    /// The name of a bucket: 3 to 63 of `a-z`, `0-9`, `-` and `.`, starting and ending with a
    /// letter or digit, without two dots in a row and not of the form of an IPv4 address.
    Bucket
}

text_name! {
    /// The key of an object: 1 to 1024 bytes of UTF-8. Any text is legal, also `a//b` and `../x`:
    /// a key is never used as a path. Keys sort by their bytes.
    ObjectKey
}

text_name! {
    /// The entity tag of one version: what changes when the content changes. 1 to 64 printable
    /// ASCII characters without quotes.
    ETag
}

text_name! {
    /// Who owns a bucket or an upload; opaque to the store.
    Owner
}

text_name! {
    /// One volume, that is one disk's file system: its UUID, or any label of `a-z A-Z 0-9 - _ .`.
    VolumeId
}

text_name! {
    /// All volumes that belong together. The node derives it from its identity, so a volume of
    /// another node is refused.
    PoolId
}

text_name! {
    /// One upload in parts: 32 lower-case hex digits, drawn at random.
    UploadId
}

impl Bucket {
    /// Checks the name of a bucket.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let bad = |reason| refuse("bucket", name, reason);
        if name.len() < 3 || name.len() > BUCKET_MAX_BYTES {
            return bad("it must have 3 to 63 characters");
        }
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !name.bytes().all(|b| alphanumeric(&b) || b == b'-' || b == b'.') {
            return bad("only a-z, 0-9, '-' and '.' are allowed");
        }
        let edges = [name.as_bytes().first(), name.as_bytes().last()];
        if !edges.into_iter().flatten().all(alphanumeric) {
            return bad("it must start and end with a letter or digit");
        }
        if name.contains("..") {
            return bad("two dots in a row are not allowed");
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return bad("it must not look like an IPv4 address");
        }
        Ok(Self(name.into()))
    }
}

impl ObjectKey {
    /// Checks a key.
    ///
    /// # Errors
    /// The key is empty or longer than 1024 bytes.
    pub fn new(key: &str) -> Result<Self, NameError> {
        if key.is_empty() {
            return refuse("key", key, "it must not be empty");
        }
        if key.len() > KEY_MAX_BYTES {
            return refuse("key", key, "it is longer than 1024 bytes");
        }
        Ok(Self(key.into()))
    }
}

/// Lets an ordered map of keys be searched from any byte string, such as the end of a prefix.
/// The order of keys is the order of their bytes, so the two agree.
impl Borrow<[u8]> for ObjectKey {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl ETag {
    /// Checks an entity tag, given without quotes.
    ///
    /// # Errors
    /// It is empty, too long, or has a character that HTTP would not carry.
    pub fn new(tag: &str) -> Result<Self, NameError> {
        if tag.is_empty() || tag.len() > ETAG_MAX_BYTES {
            return refuse("entity tag", tag, "it must have 1 to 64 characters");
        }
        if !tag.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
            return refuse("entity tag", tag, "only printable ASCII without quotes is allowed");
        }
        Ok(Self(tag.into()))
    }

    /// The tag of a body written in one piece: its MD5 in hex.
    #[must_use]
    pub fn of_md5(digest: [u8; 16]) -> Self {
        Self(hex::encode(digest).into())
    }
}

fn label(kind: &'static str, name: &str) -> Result<Box<str>, NameError> {
    if name.is_empty() || name.len() > LABEL_MAX_BYTES {
        return refuse(kind, name, "it must have 1 to 64 characters");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !name.bytes().all(allowed) {
        return refuse(kind, name, "only letters, digits, '-', '_' and '.' are allowed");
    }
    Ok(name.into())
}

impl VolumeId {
    /// Checks the identity of a volume.
    ///
    /// # Errors
    /// It is empty, longer than 64 characters, or has a character outside `a-z A-Z 0-9 - _ .`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        label("volume", name).map(Self)
    }
}

impl PoolId {
    /// Checks the identity of a pool.
    ///
    /// # Errors
    /// It is empty, longer than 64 characters, or has a character outside `a-z A-Z 0-9 - _ .`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        label("pool", name).map(Self)
    }
}

impl Owner {
    /// Checks the name of an owner.
    ///
    /// # Errors
    /// It is empty, longer than 64 bytes, or has a control character.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > LABEL_MAX_BYTES {
            return refuse("owner", name, "it must have 1 to 64 bytes");
        }
        if name.chars().any(char::is_control) {
            return refuse("owner", name, "control characters are not allowed");
        }
        Ok(Self(name.into()))
    }
}

impl UploadId {
    /// Checks the identity of an upload.
    ///
    /// # Errors
    /// It is not 32 lower-case hex digits.
    pub fn new(id: &str) -> Result<Self, NameError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if id.len() != 32 || !id.bytes().all(digit) {
            return refuse("upload", id, "it must be 32 lower-case hex digits");
        }
        Ok(Self(id.into()))
    }

    /// An identity from 16 bytes of randomness.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex::encode(bytes).into())
    }
}

/// The number of a part within its upload: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PartNumber(u16);

impl PartNumber {
    /// Checks the number of a part.
    ///
    /// # Errors
    /// It is 0 or above 10,000.
    pub fn new(number: u16) -> Result<Self, NameError> {
        if number == 0 || number > PART_NUMBER_MAX {
            return refuse("part number", &number.to_string(), "it must be 1 to 10000");
        }
        Ok(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for PartNumber {
    type Error = NameError;

    fn try_from(number: u16) -> Result<Self, NameError> {
        Self::new(number)
    }
}

impl From<PartNumber> for u16 {
    fn from(number: PartNumber) -> Self {
        number.0
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One version of one key. Versions grow with time over the whole store: of two versions of a key
/// the greater is the newer, also when they come from volumes that were apart. The upper 44 bits
/// are milliseconds since 1970, the lower 20 a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VersionId(u64);

impl VersionId {
    /// Older than every version that was ever given.
    pub const ZERO: Self = Self(0);

    /// The version for a moment, which follows `last`: never the same twice, never going back even
    /// when the clock does.
    #[must_use]
    pub fn next(last: Self, now: UnixMillis) -> Self {
        Self(last.0.saturating_add(1)).max(Self::at(now))
    }

    /// The least version of a moment.
    #[must_use]
    pub fn at(moment: UnixMillis) -> Self {
        Self(moment.0.saturating_mul(1 << 20))
    }

    /// The moment it was given, or a later one if more were given then than a moment has versions.
    #[must_use]
    pub fn moment(self) -> UnixMillis {
        UnixMillis(self.0 >> 20)
    }

    /// The version as a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The version that lies so many milliseconds later.
    #[must_use]
    pub fn later(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1 << 20)))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionId({self})")
    }
}

impl std::str::FromStr for VersionId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() != 16 {
            return refuse("version", text, "it must be 16 hex digits");
        }
        match u64::from_str_radix(text, 16) {
            Ok(number) => Ok(Self(number)),
            Err(_) => refuse("version", text, "it must be 16 hex digits"),
        }
    }
}

/// As text for people, as a number where nobody reads along.
impl Serialize for VersionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for VersionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

/// A moment: milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole seconds since 1970, which is all that HTTP dates carry.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["abc", "a.b-c", "0ab", "a1b2", &"a".repeat(63)] {
            assert!(Bucket::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", "ab", "Abc", "a_b", "-ab", "ab-", ".ab", "a..b", "10.0.0.1", &long, "a/b"] {
            assert!(Bucket::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn odd_keys_are_legal_and_sort_by_bytes() {
        for good in ["a//b", "../x", "/", "a/", "%41", " ", "ключ", "\u{1}", &"x".repeat(1024)]
        {
            assert!(ObjectKey::new(good).is_ok(), "{good}");
        }
        assert!(ObjectKey::new("").is_err());
        assert!(ObjectKey::new(&"x".repeat(1025)).is_err());
        assert!(ObjectKey::new("a/").unwrap() < ObjectKey::new("a0").unwrap());
    }

    #[test]
    fn versions_never_go_back_when_the_clock_does() {
        let first = VersionId::next(VersionId::ZERO, UnixMillis(2_000));
        let second = VersionId::next(first, UnixMillis(1_000));
        assert!(second > first);
        assert_eq!(second.to_string().parse::<VersionId>(), Ok(second));
    }

    #[test]
    fn part_numbers_end_at_ten_thousand() {
        assert!(PartNumber::new(0).is_err());
        assert!(PartNumber::new(10_000).is_ok());
        assert!(PartNumber::new(10_001).is_err());
    }
}
