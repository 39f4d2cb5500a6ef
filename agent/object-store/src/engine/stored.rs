//! Objects, parts and uploads as they are written down, apart from the types that the rest of the
//! crate speaks: what stands on a disk changes only by new variants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checksum::{Algorithm, Checksum, ChecksumScope, Checksums};
use crate::names::{ETag, Owner, PartNumber, UnixMillis, VersionId};
use crate::object::{Attributes, ObjectInfo, PartInfo};

/// BLAKE3 of an object's bytes; of the list of its parts, if it has parts ([`agent_proofs::parts`]).
pub(crate) type DataRoot = [u8; 32];

/// An object without its name and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredObject {
    pub version: VersionId,
    pub etag: ETag,
    pub size: u64,
    pub modified: UnixMillis,
    pub attributes: StoredAttributes,
    pub checksums: StoredChecksums,
    pub parts: Option<u16>,
    pub root: DataRoot,
}

/// A part without its upload and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPart {
    pub number: u16,
    pub version: VersionId,
    pub etag: ETag,
    pub size: u64,
    pub modified: UnixMillis,
    pub checksums: StoredChecksums,
    pub root: DataRoot,
}

/// What an upload said when it was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredUpload {
    pub owner: Owner,
    pub begun: UnixMillis,
    pub attributes: StoredAttributes,
    pub note: Option<String>,
}

/// What a client said of an object: numbered fields, so that more may come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct StoredAttributes {
    standard: Vec<(u8, String)>,
    user: BTreeMap<String, String>,
}

/// Checksums by the numbers of their algorithms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct StoredChecksums {
    /// Whether each value is made of the checksums of the parts.
    of_parts: bool,
    values: Vec<(u8, Vec<u8>)>,
}

/// Number of an attribute on disk, and where it stands in [`Attributes`].
type Field = (u8, fn(&mut Attributes) -> &mut Option<String>);

const FIELDS: [Field; 7] = [
    (1, |attributes| &mut attributes.content_type),
    (2, |attributes| &mut attributes.content_encoding),
    (3, |attributes| &mut attributes.content_language),
    (4, |attributes| &mut attributes.content_disposition),
    (5, |attributes| &mut attributes.cache_control),
    (6, |attributes| &mut attributes.expires),
    (7, |attributes| &mut attributes.redirect),
];

/// Number of an algorithm on disk.
const ALGORITHMS: [(u8, Algorithm); 6] = [
    (1, Algorithm::Md5),
    (2, Algorithm::Crc32),
    (3, Algorithm::Crc32c),
    (4, Algorithm::Crc64Nvme),
    (5, Algorithm::Sha1),
    (6, Algorithm::Sha256),
];

impl From<Attributes> for StoredAttributes {
    fn from(mut attributes: Attributes) -> Self {
        let mut standard = Vec::new();
        for (number, field) in FIELDS {
            if let Some(text) = field(&mut attributes).take() {
                standard.push((number, text));
            }
        }
        Self { standard, user: attributes.user }
    }
}

impl From<StoredAttributes> for Attributes {
    fn from(stored: StoredAttributes) -> Self {
        let mut attributes = Self { user: stored.user, ..Self::default() };
        for (number, text) in stored.standard {
            if let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == number) {
                *field(&mut attributes) = Some(text);
            }
        }
        attributes
    }
}

impl From<Checksums> for StoredChecksums {
    fn from(checksums: Checksums) -> Self {
        let number = |algorithm| {
            ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map(|(number, _)| *number)
        };
        let values = checksums.values.iter();
        let values = values
            .filter_map(|sum| Some((number(sum.algorithm())?, sum.value().to_vec())))
            .collect();
        Self { of_parts: checksums.scope == ChecksumScope::Parts, values }
    }
}

impl From<StoredChecksums> for Checksums {
    fn from(stored: StoredChecksums) -> Self {
        let scope = if stored.of_parts { ChecksumScope::Parts } else { ChecksumScope::Whole };
        let algorithm = |number| {
            ALGORITHMS.iter().find(|(known, _)| *known == number).map(|(_, algorithm)| *algorithm)
        };
        let values = stored.values.iter();
        let values = values
            .filter_map(|(number, value)| Checksum::new(algorithm(*number)?, value))
            .collect();
        Self { scope, values }
    }
}

impl From<StoredObject> for ObjectInfo {
    fn from(stored: StoredObject) -> Self {
        Self {
            version: stored.version,
            etag: stored.etag,
            size: stored.size,
            modified: stored.modified,
            attributes: stored.attributes.into(),
            checksums: stored.checksums.into(),
            parts: stored.parts,
        }
    }
}

impl StoredPart {
    /// What a client is told of it.
    pub(crate) fn info(&self, part: PartNumber) -> PartInfo {
        PartInfo {
            part,
            etag: self.etag.clone(),
            size: self.size,
            modified: self.modified,
            checksums: self.checksums.clone().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_and_checksum_comes_back() {
        let mut attributes = Attributes::default();
        for (number, field) in FIELDS {
            *field(&mut attributes) = Some(format!("text {number}"));
        }
        attributes.user.insert("colour".into(), "blau".into());
        let stored = StoredAttributes::from(attributes.clone());
        assert_eq!(stored.standard.len(), FIELDS.len());
        assert_eq!(Attributes::from(stored), attributes);

        let values = ALGORITHMS.map(|(_, algorithm)| Checksum::of(algorithm, b"x")).to_vec();
        for scope in [ChecksumScope::Whole, ChecksumScope::Parts] {
            let sums = Checksums { scope, values: values.clone() };
            let stored = StoredChecksums::from(sums.clone());
            assert_eq!(stored.values.len(), ALGORITHMS.len());
            assert_eq!(Checksums::from(stored), sums);
        }
    }

    #[test]
    fn what_a_later_release_added_is_passed_over() {
        let stored = StoredAttributes { standard: vec![(99, "new".into())], ..Default::default() };
        assert_eq!(Attributes::from(stored), Attributes::default());
        let stored = StoredChecksums { of_parts: false, values: vec![(99, vec![1]), (1, vec![1])] };
        assert_eq!(Checksums::from(stored).values, []);
    }
}
