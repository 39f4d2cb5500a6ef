//! What is refused, with the answer that clients know.

use std::io::Write as _;

use crate::node::{KEYS, KEYS2, Node, Setup, read_answer, user};
use crate::signer::Signed;

fn with_bucket() -> Node {
    let node = Node::start();
    node.exchange(&Signed::new(node.address, "PUT", "/photos").bytes()).expect(200, "");
    node
}

#[test]
fn nothing_is_done_unsigned() {
    let node = with_bucket();
    for (method, path) in [("GET", "/"), ("GET", "/photos"), ("PUT", "/photos/k"), ("PUT", "/new")]
    {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        node.exchange(request.as_bytes()).expect(403, "AccessDenied");
    }
}

#[test]
fn a_wrong_secret_and_an_unknown_key_are_told_apart() {
    let node = with_bucket();
    let list = |keys| Signed::new(node.address, "GET", "/").by(keys).bytes();
    node.exchange(&list((KEYS.0, "wrong"))).expect(403, "SignatureDoesNotMatch");
    node.exchange(&list(("AKNOBODY", "wrong"))).expect(403, "InvalidAccessKeyId");
}

#[test]
fn every_error_has_words_and_names_its_request() {
    let node = with_bucket();
    let wrong = Signed::new(node.address, "GET", "/photos/a%20b").by((KEYS.0, "wrong"));
    let answer = node.exchange(&wrong.bytes()).expect(403, "SignatureDoesNotMatch");
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.contains("<Message>The request signature"), "{text}");
    assert!(text.contains("<Resource>/photos/a%20b</Resource>"), "{text}");
    let id = answer.header("x-amz-request-id").unwrap();
    assert!(text.contains(&format!("<RequestId>{id}</RequestId>")), "{text}");
}

#[test]
fn a_clock_that_is_off_is_told_so() {
    let node = with_bucket();
    for ahead_seconds in [-1000, 1000] {
        let request = Signed { ahead_seconds, ..Signed::new(node.address, "GET", "/") };
        let answer = node.exchange(&request.bytes()).expect(403, "RequestTimeTooSkewed");
        assert!(String::from_utf8_lossy(&answer.body).contains("s time (20"));
    }
}

#[test]
fn a_body_that_was_changed_on_its_way_is_not_stored() {
    let node = with_bucket();
    let mut request = Signed::new(node.address, "PUT", "/photos/k").body("signed").bytes();
    let at = request.len() - 6;
    request[at..].copy_from_slice(b"forged");
    node.exchange(&request).expect(400, "XAmzContentSHA256Mismatch");
    let get = Signed::new(node.address, "GET", "/photos/k").bytes();
    node.exchange(&get).expect(404, "NoSuchKey");
}

#[test]
fn a_body_that_is_cut_short_is_not_stored() {
    let node = with_bucket();
    let request = Signed::new(node.address, "PUT", "/photos/k").body(vec![1; 300_000]).bytes();
    let mut socket = node.connect();
    socket.write_all(&request[..200_000]).unwrap();
    drop(socket);
    let mut chunked = Signed::new(node.address, "PUT", "/photos/k")
        .header("x-amz-decoded-content-length", "10")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .body("5\r\nabcde\r\n");
    chunked.payload = Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    node.exchange(&chunked.bytes()).expect(400, "IncompleteBody");
    let get = Signed::new(node.address, "GET", "/photos/k").bytes();
    node.exchange(&get).expect(404, "NoSuchKey");
}

#[test]
fn a_signed_chunk_that_does_not_fit_in_memory_is_refused_at_once() {
    let node = with_bucket();
    let mut request = Signed::new(node.address, "PUT", "/photos/k")
        .header("x-amz-decoded-content-length", "1073741824")
        .body(format!("40000000;chunk-signature={}\r\n", "0".repeat(64)));
    request.payload = Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let answer = node.exchange(&request.bytes()).expect(400, "InvalidRequest");
    assert!(String::from_utf8_lossy(&answer.body).contains("at most 8388608 bytes"));
}

#[test]
fn a_refusal_reaches_a_client_that_sends_all_of_its_body_first() {
    let node = with_bucket();
    let request = Signed::new(node.address, "PUT", "/gone/k").body(vec![1; 20 << 20]).bytes();
    let mut socket = node.connect();
    socket.write_all(&request).unwrap();
    read_answer(&mut socket).expect(404, "NoSuchBucket");
    let next = Signed::new(node.address, "GET", "/photos").bytes();
    socket.write_all(&next).unwrap();
    read_answer(&mut socket).expect(200, "");
}

#[test]
fn a_client_that_asks_before_sending_is_refused_without_its_body() {
    let node = with_bucket();
    let mut request = Signed::new(node.address, "PUT", "/gone/k").body("x".repeat(1000));
    request.headers.push(("expect", "100-continue".to_owned()));
    let answer = node.exchange(request.head().as_bytes()).expect(404, "NoSuchBucket");
    assert_eq!(answer.header("connection"), Some("close"));
    request.path = "/photos/k".to_owned();
    node.exchange(&request.bytes()).expect(200, "");
}

#[test]
fn a_bucket_belongs_to_who_made_it() {
    let node = with_bucket();
    node.exchange(&Signed::new(node.address, "PUT", "/photos/k").body("x").bytes()).expect(200, "");
    let other = |method, path: &str| Signed::new(node.address, method, path).by(KEYS2);
    for (method, path) in [
        ("GET", "/photos"),
        ("GET", "/photos/k"),
        ("PUT", "/photos/k"),
        ("DELETE", "/photos/k"),
        ("DELETE", "/photos"),
        ("GET", "/photos?uploads="),
        ("POST", "/photos/k?uploads="),
        ("GET", "/photos?policy="),
    ] {
        node.exchange(&other(method, path).bytes()).expect(403, "AccessDenied");
    }
    node.exchange(&other("PUT", "/photos").bytes()).expect(409, "BucketAlreadyExists");
    node.exchange(&other("PUT", "/theirs").bytes()).expect(200, "");
    let copy = other("PUT", "/theirs/k").header("x-amz-copy-source", "photos/k");
    node.exchange(&copy.bytes()).expect(403, "AccessDenied");
    let list = node.exchange(&other("GET", "/").bytes()).expect(200, "");
    let text = String::from_utf8(list.body).unwrap();
    assert!(text.contains("theirs") && !text.contains("photos"), "{text}");
}

#[test]
fn users_can_be_exchanged_while_serving() {
    let node = with_bucket();
    let new = ("AKNEW", "new-secret");
    node.server.set_users(vec![user("alice", new)]).unwrap();
    let list = |keys| Signed::new(node.address, "GET", "/photos").by(keys).bytes();
    node.exchange(&list(new)).expect(200, "");
    node.exchange(&list(KEYS)).expect(403, "InvalidAccessKeyId");
}

#[test]
fn a_full_disk_is_told_and_leaves_the_rest_as_it_is() {
    let node = Node::with(Setup { reserve_bytes: Some(u64::MAX), ..Setup::default() });
    node.exchange(&Signed::new(node.address, "PUT", "/photos").bytes()).expect(200, "");
    let put = Signed::new(node.address, "PUT", "/photos/k").body("x").bytes();
    node.exchange(&put).expect(507, "InsufficientStorage");
    node.exchange(&Signed::new(node.address, "GET", "/photos").bytes()).expect(200, "");
}

#[test]
fn without_a_disk_clients_are_told_to_come_again() {
    let node = Node::with(Setup { no_disk: true, ..Setup::default() });
    let answer = node.exchange(&Signed::new(node.address, "PUT", "/photos").bytes());
    let answer = answer.expect(503, "ServiceUnavailable");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(node.server.requests().failed, 1);
}

#[test]
fn what_is_not_there_is_said_to_be_so() {
    let node = with_bucket();
    for (method, path) in [
        ("GET", "/photos?policy="),
        ("GET", "/photos?acl="),
        ("GET", "/photos?versions="),
        ("PUT", "/photos?versioning="),
        ("GET", "/photos?lifecycle="),
    ] {
        let body = if method == "PUT" { "<VersioningConfiguration/>" } else { "" };
        let request = Signed::new(node.address, method, path).body(body).bytes();
        node.exchange(&request).expect(501, "NotImplemented");
    }
}

#[test]
fn a_client_that_waits_to_send_nothing_does_not_use_its_connection_again() {
    let node = with_bucket();
    let put = || Signed::new(node.address, "PUT", "/photos/empty");
    let waiting = node.exchange(&put().header("expect", "100-continue").bytes());
    assert_eq!((waiting.status, waiting.header("connection")), (200, Some("close")));
    assert!(waiting.header("etag").is_some());
    let other = node.exchange(&put().bytes());
    assert_eq!((other.status, other.header("connection")), (200, None));
}
