//! The last touch on answers: every one names its request, every error says in words what is wrong
//! and what it is about.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use s3s::{Body, HttpResponse};

/// The header that names the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// Names for requests: unlike those of another run of the server, and never the same twice.
#[derive(Debug)]
pub(crate) struct RequestIds {
    run: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Names for one run, told apart by a random number.
    pub(crate) fn new(run: u64) -> Self {
        Self { run: run & 0xffff_ffff, next: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:08X}{number:08X}", self.run)
    }
}

/// Completes an answer. `path` is the address of the request as it came, still percent-encoded.
pub(crate) fn finish(mut answer: HttpResponse, id: &str, path: &str) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(id) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    // s3s tells so itself for GET, but not for HEAD.
    if answer.status() == StatusCode::OK && answer.headers().contains_key(header::CONTENT_RANGE) {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let status = answer.status();
    if status == StatusCode::NOT_MODIFIED {
        *answer.body_mut() = Body::empty();
    } else if status.is_client_error() || status.is_server_error() {
        complete_error(&mut answer, id, path);
    }
    answer
}

fn complete_error(answer: &mut HttpResponse, id: &str, path: &str) {
    let Some(body) = answer.body().bytes() else { return };
    let Some(text) = std::str::from_utf8(&body).ok().and_then(|t| t.strip_suffix("</Error>"))
    else {
        return;
    };
    let mut whole = text.to_owned();
    if !text.contains("<Message>") {
        let words = code(text).map_or(OTHER, words);
        whole.push_str(&format!("<Message>{words}</Message>"));
    }
    let path = escape(path);
    whole.push_str(&format!("<Resource>{path}</Resource><RequestId>{id}</RequestId></Error>"));
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    *answer.body_mut() = Body::from(Bytes::from(whole));
}

fn code(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

/// What is said where nothing better is known.
const OTHER: &str = "The request cannot be answered as it is.";

/// Words for the errors that s3s finds without saying any.
fn words(code: &str) -> &'static str {
    match code {
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check \
             your key and signing method."
        }
        "InvalidBucketName" => "The specified bucket is not valid.",
        "KeyTooLongError" => "Your key is too long: at most 1024 bytes of UTF-8.",
        "InvalidURI" => "The URI could not be parsed.",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published \
             schema."
        }
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "NotImplemented" => "This operation is not implemented.",
        "IncompleteBody" => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header."
        }
        "InternalError" => "We encountered an internal error. Please try again.",
        _ => OTHER,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::{S3Error, S3ErrorCode};

    fn finished(error: S3Error, path: &str) -> (HttpResponse, String) {
        let answer = finish(error.to_http_response().unwrap(), "ID1", path);
        let text = String::from_utf8(answer.body().bytes().unwrap().to_vec()).unwrap();
        (answer, text)
    }

    #[test]
    fn an_error_without_words_gets_some() {
        let (answer, text) =
            finished(S3Error::new(S3ErrorCode::SignatureDoesNotMatch), "/b/a%20b?x");
        assert!(text.contains("<Message>The request signature"), "{text}");
        assert!(text.contains("<Resource>/b/a%20b?x</Resource><RequestId>ID1</RequestId></Error>"));
        assert_eq!(answer.headers().get("x-amz-request-id").unwrap(), "ID1");
    }

    #[test]
    fn an_error_keeps_its_own_words() {
        let error = S3Error::with_message(S3ErrorCode::NoSuchKey, "gone");
        let (_, text) = finished(error, "/b/<&>");
        assert_eq!(text.matches("<Message>").count(), 1);
        assert!(text.contains("<Message>gone</Message>") && text.contains("/b/&lt;&amp;&gt;"));
    }

    #[test]
    fn what_was_not_modified_has_no_body() {
        let error = S3Error::new(S3ErrorCode::NotModified);
        let answer = finish(error.to_http_response().unwrap(), "ID1", "/b/k");
        assert_eq!(answer.body().bytes().unwrap().len(), 0);
    }

    #[test]
    fn request_ids_differ() {
        let ids = RequestIds::new(u64::MAX);
        assert_eq!(ids.next(), "FFFFFFFF00000000");
        assert_eq!(ids.next(), "FFFFFFFF00000001");
    }
}
