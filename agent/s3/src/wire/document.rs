//! Documents of requests that come with a checksum. s3s reads lists of what to delete without
//! comparing them with what their headers say, so that is done on their way in.

use std::fmt;

use agent_object_store::{Algorithm, Checksum};
use bytes::{Bytes, BytesMut};
use http::Method;
use http::request::Parts;
use s3s::S3Result;

use super::BodyFault;
use crate::checksums::Declared;

/// Largest XML document of a request: 1000 keys of 1 KiB to delete, each character escaped to six.
pub(crate) const DOCUMENT_MAX_BYTES: usize = 8 << 20;

/// A document on its way in, with the checksums that it must have.
pub(crate) struct Document {
    expected: Vec<Checksum>,
    seen: Vec<Bytes>,
    bytes: usize,
}

impl Document {
    /// What the head of a request says of its document; none where there is nothing to compare.
    pub(crate) fn of(parts: &Parts) -> S3Result<Option<Self>> {
        let query = parts.uri.query().unwrap_or_default();
        let deletes = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "delete");
        if parts.method != Method::POST || !deletes {
            return Ok(None);
        }
        let expected = Declared::read(&parts.headers)?.expected;
        let document = Self { expected, seen: Vec::new(), bytes: 0 };
        Ok((!document.expected.is_empty()).then_some(document))
    }

    /// Takes a piece. What is too long is refused by s3s, so its pieces are not kept.
    pub(crate) fn add(&mut self, piece: &Bytes) {
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.bytes <= DOCUMENT_MAX_BYTES {
            self.seen.push(piece.clone());
        }
    }

    /// Compares at the end.
    pub(crate) fn end(self) -> Result<(), BodyFault> {
        let mut whole = BytesMut::with_capacity(self.bytes.min(DOCUMENT_MAX_BYTES));
        for piece in &self.seen {
            whole.extend_from_slice(piece);
        }
        let wrong = |expected: &&Checksum| {
            Checksum::of(expected.algorithm(), &whole).value() != expected.value()
        };
        match self.expected.iter().find(wrong) {
            Some(expected) => Err(BodyFault::Digest(expected.algorithm())),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.expected.iter().map(Checksum::algorithm).collect();
        f.debug_struct("Document").field("expected", &algorithms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(method: Method, uri: &str, header: (&str, &str)) -> S3Result<Option<Document>> {
        let request = http::Request::builder().method(method).uri(uri).header(header.0, header.1);
        Document::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_list_to_delete_is_compared_with_its_md5() {
        let md5 = ("content-md5", "kAFQmDzST7DWlj99KOF/cg==");
        let compare = |pieces: &[&'static [u8]]| {
            let mut document = document(Method::POST, "/b?delete", md5).unwrap().unwrap();
            pieces.iter().for_each(|piece| document.add(&Bytes::from_static(piece)));
            document.end()
        };
        assert_eq!(compare(&[b"ab", b"c"]), Ok(()));
        assert_eq!(compare(&[b"abd"]), Err(BodyFault::Digest(Algorithm::Md5)));
        assert_eq!(compare(&[]), Err(BodyFault::Digest(Algorithm::Md5)));
    }

    #[test]
    fn only_lists_to_delete_are_compared() {
        let md5 = ("content-md5", "kAFQmDzST7DWlj99KOF/cg==");
        assert!(document(Method::PUT, "/b?delete", md5).unwrap().is_none());
        assert!(document(Method::POST, "/b/k?uploadId=x", md5).unwrap().is_none());
        assert!(document(Method::POST, "/b?delete", ("accept", "*/*")).unwrap().is_none());
        assert!(document(Method::POST, "/b?delete=", ("content-md5", "?")).is_err());
    }
}
