//! Signature Version 4 in the header `authorization`, with the payload's digest signed.

use ring::digest;
use ring::hmac;

/// What the digest of a body is called.
pub(crate) const PAYLOAD: &str = "x-amz-content-sha256";

/// Signs requests of one moment with one key.
#[derive(Debug)]
pub(crate) struct Signer {
    /// As in `x-amz-date`.
    moment: String,
    credential: String,
    scope: String,
    key: hmac::Key,
}

/// A request to be signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    /// Encoded.
    pub(crate) path: &'a str,
    /// Encoded, in canonical order.
    pub(crate) query: &'a str,
    /// All headers but the two that signing adds, names in lower case, in order.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The body's SHA-256 in hex.
    pub(crate) payload: &'a str,
}

impl Signer {
    /// For requests of `moment`, as YYYYMMDDThhmmssZ.
    pub(crate) fn new(access: &str, secret: &str, region: &str, moment: &str) -> Self {
        let day = moment.get(..8).unwrap_or(moment);
        let first = format!("AWS4{secret}").into_bytes();
        let key = [day, region, "s3", "aws4_request"].iter().fold(first, |key, part| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            hmac::sign(&key, part.as_bytes()).as_ref().to_vec()
        });
        let scope = format!("{day}/{region}/s3/aws4_request");
        Self {
            moment: moment.to_owned(),
            credential: format!("{access}/{scope}"),
            scope,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        }
    }

    /// What `x-amz-date` must say.
    pub(crate) fn moment(&self) -> &str {
        &self.moment
    }

    /// What `authorization` must say.
    pub(crate) fn authorization(&self, request: &Unsigned<'_>) -> String {
        let mut headers = request.headers.to_vec();
        headers.push((PAYLOAD, request.payload));
        headers.push(("x-amz-date", &self.moment));
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            request.method, request.path, request.query, request.payload
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.moment,
            self.scope,
            sha256(canonical.as_bytes())
        );
        let signature = hex::encode(hmac::sign(&self.key, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}",
            self.credential
        )
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and moment of the examples of "Signature Calculations for the Authorization Header"
    /// in the Amazon S3 API reference.
    fn signer() -> Signer {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        Signer::new("AKIAIOSFODNN7EXAMPLE", secret, "us-east-1", "20130524T000000Z")
    }

    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

    #[test]
    fn get_object_is_signed_as_in_the_reference() {
        let nothing = sha256(b"");
        let signed = signer().authorization(&Unsigned {
            method: "GET",
            path: "/test.txt",
            query: "",
            headers: &[HOST, ("range", "bytes=0-9")],
            payload: &nothing,
        });
        assert_eq!(
            signed,
            "AWS4-HMAC-SHA256 \
             Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn put_object_is_signed_as_in_the_reference() {
        let payload = sha256(b"Welcome to Amazon S3.");
        let signed = signer().authorization(&Unsigned {
            method: "PUT",
            path: "/test%24file.text",
            query: "",
            headers: &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                HOST,
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            payload: &payload,
        });
        let signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
        assert!(signed.ends_with(signature), "{signed}");
    }

    #[test]
    fn a_listing_is_signed_as_in_the_reference() {
        let nothing = sha256(b"");
        let signed = signer().authorization(&Unsigned {
            method: "GET",
            path: "/",
            query: "max-keys=2&prefix=J",
            headers: &[HOST],
            payload: &nothing,
        });
        let signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
        assert!(signed.ends_with(signature), "{signed}");
    }
}
