//! What a client of S3 does all day, with presigned URLs of rusty-s3 and with signed headers.

use std::time::Duration;

use agent_object_store::Requests;
use rusty_s3::actions::{CreateMultipartUpload, S3Action as _};
use rusty_s3::{Bucket, Credentials, UrlStyle};

use crate::node::{KEYS, Node};
use crate::signer::{Signed, hex_sha256};

const LIFE: Duration = Duration::from_secs(60);

fn bucket(node: &Node) -> (Bucket, Credentials) {
    let url = format!("http://{}", node.address).parse().unwrap();
    let bucket = Bucket::new(url, UrlStyle::Path, "photos", "eu-test-1").unwrap();
    let credentials = Credentials::new(KEYS.0, KEYS.1);
    let made = ureq::put(bucket.create_bucket(&credentials).sign(LIFE).as_str()).send_empty();
    assert_eq!(made.unwrap().status(), 200);
    (bucket, credentials)
}

#[test]
fn an_object_is_put_read_listed_and_deleted() {
    let node = Node::start();
    let (bucket, keys) = bucket(&node);
    for (name, size) in [("empty", 0), ("a b/ü", 1), ("large", 3_000_000)] {
        let body = vec![7_u8; size];
        let put = bucket.put_object(Some(&keys), name).sign(LIFE);
        assert_eq!(ureq::put(put.as_str()).send(&body[..]).unwrap().status(), 200);
        let get = bucket.get_object(Some(&keys), name).sign(LIFE);
        let mut answer = ureq::get(get.as_str()).call().unwrap();
        assert!(answer.body_mut().read_to_vec().unwrap() == body, "{name}");
    }
    let list = bucket.list_objects_v2(Some(&keys)).sign(LIFE);
    let text = ureq::get(list.as_str()).call().unwrap().body_mut().read_to_string().unwrap();
    let listed = rusty_s3::actions::ListObjectsV2::parse_response(&text).unwrap();
    let names: Vec<_> = listed.contents.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(names, ["a b/ü", "empty", "large"]);
    let delete = bucket.delete_object(Some(&keys), "large").sign(LIFE);
    assert_eq!(ureq::delete(delete.as_str()).call().unwrap().status(), 204);
    let head = bucket.head_object(Some(&keys), "large").sign(LIFE);
    assert!(matches!(ureq::head(head.as_str()).call(), Err(ureq::Error::StatusCode(404))));
}

#[test]
fn requests_and_what_goes_in_and_out_with_them_are_counted() {
    let node = Node::start();
    let (bucket, keys) = bucket(&node);
    let body = vec![7_u8; 2_000_000];
    let put = bucket.put_object(Some(&keys), "k").sign(LIFE);
    assert_eq!(ureq::put(put.as_str()).send(&body[..]).unwrap().status(), 200);
    let get = bucket.get_object(Some(&keys), "k").sign(LIFE);
    let mut answer = ureq::get(get.as_str()).call().unwrap();
    assert_eq!(answer.body_mut().read_to_vec().unwrap().len(), body.len());
    let mut answer = ureq::get(get.as_str()).header("range", "bytes=10-19").call().unwrap();
    assert_eq!(answer.body_mut().read_to_vec().unwrap().len(), 10);
    let head = bucket.head_object(Some(&keys), "k").sign(LIFE);
    assert_eq!(ureq::head(head.as_str()).call().unwrap().status(), 200);
    let head = bucket.head_object(Some(&keys), "absent").sign(LIFE);
    assert!(ureq::head(head.as_str()).call().is_err(), "what was not carried out does not count");
    let list = bucket.list_objects_v2(Some(&keys)).sign(LIFE);
    assert_eq!(ureq::get(list.as_str()).call().unwrap().status(), 200);
    let delete = bucket.delete_object(Some(&keys), "k").sign(LIFE);
    assert_eq!(ureq::delete(delete.as_str()).call().unwrap().status(), 204);
    let totals = node.runtime.block_on(node.store.bucket_totals()).unwrap();
    let [totals] = totals.as_slice() else { panic!("{totals:?}") };
    let expected =
        Requests { reads: 4, writes: 2, deletes: 1, bytes_in: 2_000_000, bytes_out: 2_000_010 };
    assert_eq!((totals.requests, totals.owner.as_str()), (expected, "alice"));
}

#[test]
fn an_object_is_uploaded_in_parts() {
    let node = Node::start();
    let (bucket, keys) = bucket(&node);
    let create = bucket.create_multipart_upload(Some(&keys), "k").sign(LIFE);
    let text = ureq::post(create.as_str()).send_empty().unwrap().body_mut().read_to_string();
    let upload = CreateMultipartUpload::parse_response(&text.unwrap()).unwrap();
    let upload = upload.upload_id();
    let parts = [vec![1_u8; 5 << 20], vec![2_u8; 1000]];
    let mut tags = Vec::new();
    for (number, part) in (1..).zip(&parts) {
        let put = bucket.upload_part(Some(&keys), "k", number, upload).sign(LIFE);
        let answer = ureq::put(put.as_str()).send(&part[..]).unwrap();
        tags.push(answer.headers()["etag"].to_str().unwrap().to_owned());
    }
    let tags = tags.iter().map(String::as_str);
    let complete = bucket.complete_multipart_upload(Some(&keys), "k", upload, tags);
    let (url, body) = (complete.sign(LIFE), complete.body());
    let done = ureq::post(url.as_str()).send(body).unwrap().body_mut().read_to_string().unwrap();
    assert!(done.contains("-2\"</ETag>"), "{done}");
    let get = bucket.get_object(Some(&keys), "k").sign(LIFE);
    let read = ureq::get(get.as_str()).call().unwrap().body_mut().read_to_vec().unwrap();
    assert!(read == parts.concat());
}

#[test]
fn a_signed_header_is_as_good_as_a_presigned_url() {
    let node = Node::start();
    bucket(&node);
    let body = vec![9_u8; 100_000];
    let put = Signed::new(node.address, "PUT", "/photos/k").body(body.clone());
    node.exchange(&put.bytes()).expect(200, "");
    let get = Signed::new(node.address, "GET", "/photos/k").header("range", "bytes=-10");
    let answer = node.exchange(&get.bytes()).expect(206, "");
    assert_eq!(answer.body, [9; 10]);
    assert_eq!(answer.header("content-range"), Some("bytes 99990-99999/100000"));
}

#[test]
fn signed_chunks_are_checked_one_by_one() {
    let node = Node::start();
    bucket(&node);
    let chunks = [&[1_u8; 65_536][..], &[2; 65_536], &[3; 99]];
    let put = || Signed::new(node.address, "PUT", "/photos/k");
    let get = Signed::new(node.address, "GET", "/photos/k").bytes();
    for spoiled in [0, 2, 3] {
        let answer = node.exchange(&put().in_chunks(&chunks, Some(spoiled)));
        answer.expect(403, "SignatureDoesNotMatch");
        node.exchange(&get).expect(404, "NoSuchKey");
    }
    node.exchange(&put().in_chunks(&chunks, None)).expect(200, "");
    assert_eq!(hex_sha256(&node.exchange(&get).body), hex_sha256(&chunks.concat()));
}

#[test]
fn a_bucket_can_be_part_of_the_host_name() {
    let node = Node::start();
    bucket(&node);
    let mut put = Signed::new(node.address, "PUT", "/a").body("x");
    put.host = "photos.s3.test:9000".to_owned();
    node.exchange(&put.bytes()).expect(200, "");
    let get = Signed::new(node.address, "GET", "/photos/a").bytes();
    assert_eq!(node.exchange(&get).expect(200, "").body, b"x");
}
