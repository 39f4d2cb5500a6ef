//! Checksums in the headers, trailers and answers of S3.

use agent_object_store::{Algorithm, BodyError, Checksum, ChecksumScope, Checksums, Trailer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use s3s::dto::{self, ChecksumAlgorithm, ChecksumType};
use s3s::{S3Result, TrailingHeaders, s3_error};

use crate::error::TrailerError;

/// The algorithms that S3 has headers for.
static ALGORITHMS: [(Algorithm, HeaderName); 5] = [
    (Algorithm::Crc32, s3s::header::X_AMZ_CHECKSUM_CRC32),
    (Algorithm::Crc32c, s3s::header::X_AMZ_CHECKSUM_CRC32C),
    (Algorithm::Crc64Nvme, s3s::header::X_AMZ_CHECKSUM_CRC64NVME),
    (Algorithm::Sha1, s3s::header::X_AMZ_CHECKSUM_SHA1),
    (Algorithm::Sha256, s3s::header::X_AMZ_CHECKSUM_SHA256),
];

/// What a write declares of its body.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    /// Checksums given before the body; the body must have them.
    pub(crate) expected: Vec<Checksum>,
    /// Algorithms whose values come behind the body.
    pub(crate) trailing: Vec<Algorithm>,
}

impl Declared {
    /// Reads the headers of a write.
    pub(crate) fn read(headers: &HeaderMap) -> S3Result<Self> {
        let mut declared = Self::default();
        for (algorithm, name) in &ALGORITHMS {
            if let Some(value) = headers.get(name) {
                let sum = value.to_str().ok().and_then(|text| decode(*algorithm, text));
                declared.expected.push(sum.ok_or_else(|| wrong_value(name.as_str()))?);
            }
        }
        declared.trailing = trailing(headers)?;
        if declared.expected.len() + declared.trailing.len() > 1 {
            return Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum types are not \
                 allowed."
            ));
        }
        if headers.contains_key("x-amz-sdk-checksum-algorithm")
            && declared.expected.is_empty()
            && declared.trailing.is_empty()
        {
            return Err(s3_error!(
                InvalidRequest,
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or \
                 x-amz-trailer headers were found."
            ));
        }
        if let Some(value) = headers.get("content-md5") {
            let sum = value.to_str().ok().and_then(|text| decode(Algorithm::Md5, text));
            declared.expected.push(sum.ok_or_else(|| {
                s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid.")
            })?);
        }
        Ok(declared)
    }

    /// The algorithms to keep with the object: those of S3 that the client chose.
    pub(crate) fn keep(&self) -> Vec<Algorithm> {
        let expected = self.expected.iter().map(Checksum::algorithm);
        expected.chain(self.trailing.iter().copied()).filter(|a| *a != Algorithm::Md5).collect()
    }

    /// What reads the trailers, once they are there.
    pub(crate) fn trailer(&self, trailers: Option<TrailingHeaders>) -> Option<Trailer> {
        let names: Vec<_> =
            ALGORITHMS.iter().filter(|(algorithm, _)| self.trailing.contains(algorithm)).collect();
        if names.is_empty() {
            return None;
        }
        Some(Box::new(move || {
            let found = trailers.and_then(|trailers| trailers.take()).unwrap_or_default();
            let read = |(algorithm, name): &&(Algorithm, HeaderName)| {
                let missing = || TrailerError::Missing { name: name.to_string() };
                let value = found.get(name).ok_or_else(missing)?;
                let sum = value.to_str().ok().and_then(|text| decode(*algorithm, text));
                sum.ok_or_else(|| TrailerError::Value { name: name.to_string() })
            };
            names.iter().map(|entry| read(entry).map_err(BodyError::from)).collect()
        }))
    }
}

/// The algorithms that `x-amz-trailer` announces.
fn trailing(headers: &HeaderMap) -> S3Result<Vec<Algorithm>> {
    let mut found = Vec::new();
    for value in headers.get_all("x-amz-trailer") {
        for name in value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let known = ALGORITHMS
                .iter()
                .find(|(_, known)| name.eq_ignore_ascii_case(known.as_str().as_bytes()));
            let Some((algorithm, _)) = known else {
                return Err(s3_error!(
                    InvalidRequest,
                    "The value specified in the x-amz-trailer header is not supported"
                ));
            };
            found.push(*algorithm);
        }
    }
    Ok(found)
}

fn wrong_value(header: &str) -> s3s::S3Error {
    s3_error!(InvalidRequest, "Value for {header} header is invalid.")
}

/// A checksum from the base64 text that S3 writes.
pub(crate) fn decode(algorithm: Algorithm, text: &str) -> Option<Checksum> {
    Checksum::new(algorithm, &STANDARD.decode(text).ok()?)
}

/// The algorithm that a client names.
pub(crate) fn algorithm(name: &ChecksumAlgorithm) -> S3Result<Algorithm> {
    let found = ALGORITHMS.iter().find(|(known, _)| known.to_string() == name.as_str());
    found.map(|(algorithm, _)| *algorithm).ok_or_else(|| {
        s3_error!(
            InvalidRequest,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid \
             types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )
    })
}

/// The name that S3 has for an algorithm.
pub(crate) fn algorithm_name(algorithm: Algorithm) -> ChecksumAlgorithm {
    ChecksumAlgorithm::from(algorithm.to_string())
}

pub(crate) fn scope_name(scope: ChecksumScope) -> ChecksumType {
    ChecksumType::from_static(match scope {
        ChecksumScope::Whole => ChecksumType::FULL_OBJECT,
        ChecksumScope::Parts => ChecksumType::COMPOSITE,
    })
}

/// Checksums as S3 writes them. One of the checksums of `parts` parts has their number behind it.
pub(crate) fn encode(sums: &Checksums, parts: Option<u16>) -> dto::Checksum {
    let value = |algorithm| {
        let text = STANDARD.encode(sums.get(algorithm)?.value());
        Some(match (sums.scope, parts) {
            (ChecksumScope::Parts, Some(parts)) => format!("{text}-{parts}"),
            _ => text,
        })
    };
    let some = ALGORITHMS.iter().any(|(algorithm, _)| sums.get(*algorithm).is_some());
    dto::Checksum {
        checksum_crc32: value(Algorithm::Crc32),
        checksum_crc32c: value(Algorithm::Crc32c),
        checksum_crc64nvme: value(Algorithm::Crc64Nvme),
        checksum_sha1: value(Algorithm::Sha1),
        checksum_sha256: value(Algorithm::Sha256),
        checksum_type: some.then(|| scope_name(sums.scope)),
    }
}

/// Copies the five values of a [`dto::Checksum`] into an answer that has the same fields.
macro_rules! with_checksums {
    ($answer:expr, $sums:expr) => {{
        let sums: s3s::dto::Checksum = $sums;
        $answer.checksum_crc32 = sums.checksum_crc32;
        $answer.checksum_crc32c = sums.checksum_crc32c;
        $answer.checksum_crc64nvme = sums.checksum_crc64nvme;
        $answer.checksum_sha1 = sums.checksum_sha1;
        $answer.checksum_sha256 = sums.checksum_sha256;
    }};
}
pub(crate) use with_checksums;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    #[test]
    fn a_checksum_header_is_expected_and_kept() {
        let declared = Declared::read(&headers(&[("x-amz-checksum-crc32", "y/U6HA==")])).unwrap();
        assert_eq!(declared.keep(), [Algorithm::Crc32]);
        assert_eq!(declared.expected.len(), 1);
        assert!(declared.trailer(None).is_none());
    }

    #[test]
    fn content_md5_is_expected_but_not_kept() {
        let md5 = headers(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]);
        let declared = Declared::read(&md5).unwrap();
        assert!(declared.keep().is_empty());
        assert_eq!(declared.expected.len(), 1);
    }

    #[test]
    fn an_announced_trailer_must_come() {
        let declared =
            Declared::read(&headers(&[("x-amz-trailer", "x-amz-checksum-crc64nvme")])).unwrap();
        assert_eq!(declared.keep(), [Algorithm::Crc64Nvme]);
        let read = declared.trailer(None).unwrap();
        assert!(read().unwrap_err().downcast::<TrailerError>().is_ok());
    }

    #[test]
    fn wrong_declarations_are_refused() {
        for wrong in [
            &[("x-amz-checksum-crc32", "AAAA")][..],
            &[("x-amz-checksum-sha1", "not base64")],
            &[("content-md5", "AAAA")],
            &[("x-amz-trailer", "x-amz-meta-a")],
            &[("x-amz-sdk-checksum-algorithm", "CRC32")],
            &[("x-amz-checksum-crc32", "y/U6HA=="), ("x-amz-trailer", "x-amz-checksum-sha1")],
        ] {
            assert!(Declared::read(&headers(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_checksum_of_parts_carries_their_number() {
        let values = vec![Checksum::of(Algorithm::Crc32, b"123456789")];
        let parts = Checksums { scope: ChecksumScope::Parts, values };
        assert_eq!(encode(&parts, Some(3)).checksum_crc32.as_deref(), Some("y/Q5Jg==-3"));
        let whole = Checksums { scope: ChecksumScope::Whole, ..parts };
        assert_eq!(encode(&whole, Some(3)).checksum_crc32.as_deref(), Some("y/Q5Jg=="));
    }
}
