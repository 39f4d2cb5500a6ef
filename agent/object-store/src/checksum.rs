//! Checksums of bodies, computed in one pass over the data.

use std::fmt;

use fast_md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// MD5, 16 bytes (RFC 1321).
    Md5,
    /// CRC-32 (ISO-HDLC, as in zlib), 4 bytes.
    Crc32,
    /// CRC-32C (Castagnoli), 4 bytes.
    Crc32c,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

impl Algorithm {
    /// Length of the value in bytes.
    #[must_use]
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn crc(self) -> Option<crc_fast::CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(crc_fast::CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(crc_fast::CrcAlgorithm::Crc64Nvme),
            Self::Md5 | Self::Sha1 | Self::Sha256 => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        })
    }
}

/// The value of one checksum; CRCs in network byte order, as S3 sends them.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    value: Box<[u8]>,
}

impl Checksum {
    /// A checksum from its bytes; none if their number does not fit the algorithm.
    #[must_use]
    pub fn new(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        (value.len() == algorithm.len_bytes()).then(|| Self { algorithm, value: value.into() })
    }

    /// The checksum of `data`.
    #[must_use]
    pub fn of(algorithm: Algorithm, data: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(data);
        hasher.finish()
    }

    /// How it was computed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The checksum of two bodies joined, from those of each and the length of the second in
    /// bytes; none unless both are CRCs of the same kind.
    #[must_use]
    pub fn joined(&self, second: &Self, second_len: u64) -> Option<Self> {
        let crc = self.algorithm.crc()?;
        if second.algorithm != self.algorithm {
            return None;
        }
        let sum = crc_fast::checksum_combine(crc, self.number(), second.number(), second_len);
        Some(Self { algorithm: self.algorithm, value: crc_bytes(self.algorithm, sum) })
    }

    fn number(&self) -> u64 {
        self.value.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, hex::encode(&self.value))
    }
}

fn crc_bytes(algorithm: Algorithm, sum: u64) -> Box<[u8]> {
    let bytes = sum.to_be_bytes();
    bytes.iter().copied().skip(bytes.len() - algorithm.len_bytes().min(bytes.len())).collect()
}

/// One checksum in the making.
#[derive(Debug)]
pub(crate) struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Crc(crc_fast::Digest),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let state = match (algorithm, algorithm.crc()) {
            (_, Some(crc)) => State::Crc(crc_fast::Digest::new(crc)),
            (Algorithm::Sha1, _) => State::Sha1(Sha1::new()),
            (Algorithm::Sha256, _) => State::Sha256(Sha256::new()),
            (_, None) => State::Md5(Md5::new()),
        };
        Self { algorithm, state }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(data),
            State::Md5(digest) => digest.update(data),
            State::Sha1(digest) => digest.update(data),
            State::Sha256(digest) => digest.update(data),
        }
    }

    pub(crate) fn finish(self) -> Checksum {
        let value: Box<[u8]> = match self.state {
            State::Crc(digest) => crc_bytes(self.algorithm, digest.finalize()),
            State::Md5(digest) => digest.finalize().into(),
            State::Sha1(digest) => digest.finalize().as_slice().into(),
            State::Sha256(digest) => digest.finalize().as_slice().into(),
        };
        Checksum { algorithm: self.algorithm, value }
    }
}

/// Several checksums of one body, each algorithm at most once.
#[derive(Debug, Default)]
pub(crate) struct Hashers(Vec<Hasher>);

impl Hashers {
    pub(crate) fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let mut hashers: Vec<Hasher> = Vec::new();
        for algorithm in algorithms {
            if !hashers.iter().any(|h| h.algorithm == algorithm) {
                hashers.push(Hasher::new(algorithm));
            }
        }
        Self(hashers)
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        for hasher in &mut self.0 {
            hasher.update(data);
        }
    }

    pub(crate) fn finish(self) -> Vec<Checksum> {
        self.0.into_iter().map(Hasher::finish).collect()
    }
}

/// What a stored checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChecksumScope {
    /// The whole body.
    #[default]
    Whole,
    /// The checksums of the parts, one behind the other.
    Parts,
}

/// The checksums kept beside an object or a part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checksums {
    /// What the values cover.
    pub scope: ChecksumScope,
    /// The values, each algorithm at most once.
    pub values: Vec<Checksum>,
}

impl Checksums {
    /// The value for an algorithm, where it is kept.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm) -> Option<&Checksum> {
        self.values.iter().find(|c| c.algorithm == algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values for "123456789" from the catalogue of parametrised CRC algorithms
    /// (reveng.sourceforge.io), and the usual digests.
    #[test]
    fn every_algorithm_gives_its_published_check_value() {
        let expect = [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (algorithm, value) in expect {
            let sum = Checksum::of(algorithm, b"123456789");
            assert_eq!(hex::encode(sum.value()), value, "{algorithm}");
            assert_eq!(sum.value().len(), algorithm.len_bytes());
        }
    }

    #[test]
    fn crcs_of_parts_join_to_the_crc_of_the_whole() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let joined = Checksum::of(algorithm, b"12345")
                .joined(&Checksum::of(algorithm, b"6789"), 4)
                .unwrap();
            assert_eq!(joined, Checksum::of(algorithm, b"123456789"));
        }
        let md5 = Checksum::of(Algorithm::Md5, b"1");
        assert_eq!(md5.joined(&md5, 1), None);
    }
}
