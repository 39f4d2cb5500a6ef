//! What a request may ask for that the store does not do. To store an object and quietly leave out
//! its encryption, its lock or its tags would be worse than to refuse.

use http::HeaderMap;
use s3s::{S3Error, S3Result, s3_error};

/// Headers, by how they start, that ask for what is not there.
const NOT_THERE: [(&str, &str); 6] = [
    ("x-amz-server-side-encryption", "Server-side encryption"),
    ("x-amz-copy-source-server-side-encryption", "Server-side encryption"),
    ("x-amz-object-lock-", "Object lock"),
    ("x-amz-bucket-object-lock-", "Object lock"),
    ("x-amz-tagging", "Object tagging"),
    ("x-amz-write-offset-bytes", "Appending to objects"),
];

/// Canned access control lists that say what is the case anyway: the owner may do everything.
const ACLS: [&[u8]; 2] = [b"private", b"bucket-owner-full-control"];

/// Refuses a request that asks for what is not there.
pub(crate) fn check(headers: &HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        // A directive on tags means nothing, as there are none.
        let not_there = NOT_THERE.iter().find(|(start, _)| name.starts_with(start));
        if let Some((_, what)) = not_there.filter(|_| name != "x-amz-tagging-directive") {
            return Err(s3_error!(NotImplemented, "{what} is not implemented ({name})."));
        }
        let acl = name.starts_with("x-amz-grant-")
            || (name == "x-amz-acl" && !ACLS.contains(&value.as_bytes()));
        if acl {
            return Err(no_acls());
        }
        if name == "x-amz-storage-class" && value != "STANDARD" {
            return Err(s3_error!(
                InvalidStorageClass,
                "The storage class you specified is not valid: there is only STANDARD."
            ));
        }
    }
    Ok(())
}

fn no_acls() -> S3Error {
    s3_error!(
        AccessControlListNotSupported,
        "The bucket does not allow ACLs: it belongs to the user that made it, alone."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &'static str, value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        check(&headers).err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn what_is_not_there_is_refused_rather_than_left_out() {
        for (name, value, expect) in [
            ("x-amz-server-side-encryption", "AES256", "NotImplemented"),
            ("x-amz-server-side-encryption-customer-key", "k", "NotImplemented"),
            ("x-amz-tagging", "a=b", "NotImplemented"),
            ("x-amz-object-lock-mode", "GOVERNANCE", "NotImplemented"),
            ("x-amz-acl", "public-read", "AccessControlListNotSupported"),
            ("x-amz-grant-read", "id=x", "AccessControlListNotSupported"),
            ("x-amz-storage-class", "GLACIER", "InvalidStorageClass"),
        ] {
            assert_eq!(code(name, value).as_deref(), Some(expect), "{name}");
        }
    }

    #[test]
    fn what_says_nothing_new_is_taken() {
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-tagging-directive", "COPY"),
            ("x-amz-meta-x-amz-tagging", "a"),
            ("content-type", "text/plain"),
        ] {
            assert_eq!(code(name, value), None, "{name}");
        }
    }
}
