//! The record and its form on disk.
//!
//! ```text
//! state/agent.json   { "version": 1, "generation": 1, "sha256": "<hex>", "state": { … } }
//! ```
//!
//! `sha256` covers the bytes of `state` as they stand in the file.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The version of the form.
const VERSION: u32 = 1;

/// A record is about 2 KiB; anything much longer is something else.
pub(crate) const RECORD_MAX: u64 = 64 << 10;

/// Most partings that are kept: they are about 5 KiB then.
const PARTINGS: usize = 256;

/// What a node made for itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeState {
    /// The node it belongs to.
    pub(crate) node_id: String,
    /// The self-signed certificate in PEM.
    pub(crate) certificate_pem: String,
    /// Its key in PEM (PKCS #8).
    pub(crate) key_pem: Zeroizing<String>,
    /// The user for a node whose configuration names none.
    pub(crate) first_user: FirstUser,
    /// Wraps the keys of the volumes of the node's pool. Lies unsealed beside the data.
    #[serde(with = "hex_key")]
    pub(crate) pool_key: SecretKey,
    /// Signs for the node, and is its address on chain. None in records of releases that had none.
    #[serde(default, with = "hex_key_or_none", skip_serializing_if = "Option::is_none")]
    pub(crate) daemon_key: Option<SecretKey>,
    /// Pays gas, and nothing else. None where the node was never told to pay. An earlier release that changes the record
    /// loses it.
    #[serde(default, with = "hex_key_or_none", skip_serializing_if = "Option::is_none")]
    pub(crate) gas_key: Option<SecretKey>,
    /// Settings of the network that were confirmed while the node ran. None where those of node.toml count; an earlier
    /// release that changes the record loses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<KeptNetwork>,
    /// What the PIN of the console is checked against, in the form that node.toml has. None where nobody set one on the
    /// node; an earlier release that changes the record loses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<String>,
    /// Whether somebody went through the first steps. An earlier release that changes the record loses it, and asks again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) set_up: bool,
    /// What the node becomes at the next start of the agent, where it is to be made new: the same on every disk, whichever
    /// is there first. An earlier release does not do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reset: Option<Box<NodeState>>,
    /// How often the node was made new: what is on a volume whose record says less is of a time before. An earlier
    /// release that changes the record loses it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) resets: u64,
    /// Random numbers, one for each time that the node went on without some of its disks, newest last: a record of which another
    /// has them all was not in use by itself since the other was written. They make a record no newer. An earlier release that
    /// changes the record loses them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) partings: Vec<u64>,
}

impl NodeState {
    /// The same with these partings too, of which it may have some.
    pub(super) fn with_partings(&self, numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut next = self.clone();
        for number in numbers {
            if !next.partings.contains(&number) {
                next.partings.push(number);
            }
        }
        let surplus = next.partings.len().saturating_sub(PARTINGS);
        next.partings.drain(..surplus);
        next
    }

    /// The same after it went on without some of its disks.
    pub(super) fn parted(&self, number: u64) -> Self {
        let mut next = self.with_partings([number]);
        next.reset = next.reset.map(|reset| Box::new(reset.with_partings([number])));
        next
    }

    /// Whether two states of a node are of the time between the same factory resets: each makes another key of the pool, so
    /// two that were done without each other's disks are told apart, too.
    pub(super) fn is_of_one_time(&self, other: &Self) -> bool {
        self.node_id == other.node_id
            && self.resets == other.resets
            && self.pool_key == other.pool_key
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Settings of the network that take the place of those of node.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptNetwork {
    /// A section `[network]`.
    pub(crate) text: String,
    /// SHA-256 in hex of that of node.toml when these were confirmed: once it is another, node.toml counts.
    pub(crate) seed: String,
}

/// A key; never logged or shown.
pub(crate) type SecretKey = Zeroizing<[u8; 32]>;

/// The user that a node made for itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FirstUser {
    /// User name.
    pub(crate) name: String,
    /// Access key.
    pub(crate) access_key: String,
    /// Secret key.
    pub(crate) secret_key: Zeroizing<String>,
}

/// A state with its place in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Counts up with every change.
    pub(crate) generation: u64,
    /// The state.
    pub(crate) state: NodeState,
}

/// Why a record cannot be taken for one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Not what was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Written by a later release.
    #[error("written in form {found} by a later release; this one knows form {VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    generation: u64,
    sha256: String,
    #[serde(borrow)]
    state: &'a RawValue,
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

impl Record {
    /// The record as bytes of a file.
    ///
    /// # Errors
    /// Never with the strings of a state; serde_json offers no other way to say so.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let text = Zeroizing::new(serde_json::to_string(&self.state)?);
        let envelope = Envelope {
            version: VERSION,
            generation: self.generation,
            sha256: hex::encode(Sha256::digest(text.as_bytes())),
            state: serde_json::from_str(&text)?,
        };
        let mut bytes = serde_json::to_vec(&envelope)?;
        bytes.push(b'\n');
        Ok(Zeroizing::new(bytes))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let damaged = |error: serde_json::Error| RecordError::Damaged(error.to_string());
        let AnyVersion { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if version > VERSION {
            return Err(RecordError::Newer { found: version });
        }
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(damaged)?;
        let text = envelope.state.get();
        if envelope.sha256 != hex::encode(Sha256::digest(text.as_bytes())) {
            return Err(RecordError::Damaged("the checksum does not fit".to_owned()));
        }
        let state = serde_json::from_str(text).map_err(damaged)?;
        Ok(Self { generation: envelope.generation, state })
    }
}

/// A key in hex.
mod hex_key {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use zeroize::Zeroizing;

    use super::SecretKey;

    pub(super) fn serialize<S: Serializer>(key: &SecretKey, out: S) -> Result<S::Ok, S::Error> {
        Zeroizing::new(hex::encode(**key)).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SecretKey, D::Error> {
        let text = Zeroizing::<String>::deserialize(from)?;
        let mut key = SecretKey::default();
        hex::decode_to_slice(text.as_bytes(), key.as_mut_slice()).map_err(|_| {
            // Quotes nothing of it.
            de::Error::custom("a key must have 64 hex digits")
        })?;
        Ok(key)
    }
}

/// The same where there may be none.
mod hex_key_or_none {
    use serde::{Deserializer, Serializer};

    use super::{SecretKey, hex_key};

    pub(super) fn serialize<S: Serializer>(
        key: &Option<SecretKey>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => hex_key::serialize(key, out),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SecretKey>, D::Error> {
        hex_key::deserialize(from).map(Some)
    }
}

impl fmt::Debug for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeState")
            .field("node_id", &self.node_id)
            .field("first_user", &self.first_user)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FirstUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstUser").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) fn example(node: &str, generation: u64) -> Record {
    let state = NodeState {
        node_id: node.to_owned(),
        certificate_pem: "certificate".to_owned(),
        key_pem: Zeroizing::new("private".to_owned()),
        first_user: FirstUser {
            name: "first-user".to_owned(),
            access_key: format!("ACCESS{generation}"),
            secret_key: Zeroizing::new("hunter2hunter2".to_owned()),
        },
        pool_key: Zeroizing::new([0xa5; 32]),
        daemon_key: Some(Zeroizing::new([0x5a; 32])),
        gas_key: None,
        network: None,
        pin: None,
        set_up: false,
        reset: None,
        resets: 0,
        partings: Vec::new(),
    };
    Record { generation, state }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_keeps_its_form() {
        let bytes = example("n1", 7).encode().expect("a record");
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        assert!(text.starts_with(r#"{"version":1,"generation":7,"sha256":""#), "{text}");
        let (pool, daemon) = ("a5".repeat(32), "5a".repeat(32));
        let end = format!("}},\"pool_key\":\"{pool}\",\"daemon_key\":\"{daemon}\"}}}}\n");
        assert!(text.ends_with(&end), "{text}");
    }

    #[test]
    fn a_record_without_a_daemon_key_is_read() {
        let mut record = example("n1", 7);
        record.state.daemon_key = None;
        let bytes = record.encode().expect("a record");
        assert!(!String::from_utf8_lossy(&bytes).contains("daemon_key"));
        assert_eq!(Record::decode(&bytes), Ok(record));
    }

    #[test]
    fn a_gas_key_is_kept_and_never_printed() {
        let mut record = example("n1", 7);
        record.state.gas_key = Some(Zeroizing::new([0x77; 32]));
        let bytes = record.encode().expect("a record");
        let read = Record::decode(&bytes).expect("a record");
        assert!(!format!("{read:?}").contains("7777") && !format!("{read:?}").contains("119"));
        assert_eq!(read, record);
    }

    #[test]
    fn settings_of_the_network_are_kept_and_a_record_without_them_is_read() {
        let mut record = example("n1", 7);
        let bytes = record.encode().expect("a record");
        assert!(!String::from_utf8_lossy(&bytes).contains("\"network\""));
        let text = "[network]\ndns = [\"192.0.2.1\"]\n".to_owned();
        record.state.network = Some(KeptNetwork { text, seed: "5a".repeat(32) });
        let bytes = record.encode().expect("a record");
        assert_eq!(Record::decode(&bytes), Ok(record));
    }

    #[test]
    fn what_a_person_decided_is_kept_and_a_record_without_it_is_read() {
        let mut record = example("n1", 7);
        let bytes = record.encode().expect("a record");
        for field in ["pin", "set_up", "reset", "partings"] {
            assert!(!String::from_utf8_lossy(&bytes).contains(&format!("\"{field}")), "{field}");
        }
        record.state.pin = Some("$scrypt$ln=15,r=8,p=1$AAAA$BBBB".to_owned());
        record.state.set_up = true;
        record.state.resets = 3;
        record.state.partings = vec![7, u64::MAX];
        record.state.reset = Some(Box::new(NodeState { resets: 4, ..example("n1", 8).state }));
        let bytes = record.encode().expect("a record");
        assert!(!format!("{record:?}").contains("scrypt"), "a hash of few digits is a secret");
        assert_eq!(Record::decode(&bytes), Ok(record));
    }

    #[test]
    fn a_later_form_is_told_from_damage() {
        let later = br#"{"version":2,"anything":"else"}"#;
        assert_eq!(Record::decode(later), Err(RecordError::Newer { found: 2 }));
        assert!(matches!(Record::decode(b""), Err(RecordError::Damaged(_))));
    }

    #[test]
    fn a_record_is_never_printed_with_its_secrets() {
        let text = format!("{:?}", example("n1", 7));
        assert!(!text.contains("hunter2") && !text.contains("private"), "{text}");
        assert!(
            !text.contains("a5a5") && !text.contains("165") && !text.contains("90, 90"),
            "{text}"
        );
    }

    #[test]
    fn a_key_of_another_length_is_damage_and_not_quoted() {
        let state = serde_json::to_string(&example("n1", 7).state).expect("JSON");
        let short = state.replace(&"a5".repeat(32), &"a5".repeat(31));
        let error = serde_json::from_str::<NodeState>(&short).expect_err("too short").to_string();
        assert!(error.contains("64 hex digits") && !error.contains("a5a5"), "{error}");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(generation in any::<u64>(), text in ".{0,40}") {
            let mut record = example(&text, generation);
            record.state.first_user.secret_key = Zeroizing::new(text);
            let bytes = record.encode().expect("a record");
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn one_changed_byte_is_never_taken_for_the_same_state(at in 0_usize..200, to in any::<u8>()) {
            let record = example("n1", 7);
            let mut bytes = record.encode().expect("a record");
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(read) = Record::decode(&bytes) {
                prop_assert_eq!(read.state, record.state);
            }
        }
    }
}
