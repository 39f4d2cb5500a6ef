"""Signatures, clocks and presigned URLs."""

import hashlib
import urllib.parse

from conformance.requests import Signer, now, send, signed
from conformance.service import DOMAIN, KEYS, URL, bucket, check, client, refused, s3, same, true


@check
def nobody_may_do_anything_unsigned():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    for method, path in (
        ("GET", "/"), ("GET", f"/{name}"), ("GET", f"/{name}/k"), ("PUT", f"/{name}/k2"),
        ("DELETE", f"/{name}/k"), ("PUT", "/conf-anonymous"), ("DELETE", f"/{name}"),
    ):
        send(method, path).expect(403, "AccessDenied")
    s3.head_object(Bucket=name, Key="k")


@check
def a_wrong_secret_is_refused():
    refused("SignatureDoesNotMatch", 403, client((KEYS[0], "wrong" * 8)).list_buckets)


@check
def an_unknown_key_is_refused():
    refused("InvalidAccessKeyId", 403, client(("AKIANOBODY", "wrong" * 8)).list_buckets)


@check
def signature_version_2_is_refused():
    name = bucket()
    answer = send("GET", f"/{name}", {"Authorization": f"AWS {KEYS[0]}:c2lnbmF0dXJl", "Date": "x"})
    answer.expect(400, "InvalidRequest")
    true(b"AWS4-HMAC-SHA256" in answer.body, "it does not say what to use")
    query = f"AWSAccessKeyId={KEYS[0]}&Expires=9999999999&Signature=c2lnbmF0dXJl"
    send("GET", f"/{name}/k?{query}").expect(400, "InvalidRequest")


@check
def a_clock_that_is_off_is_told_both_times():
    for shift in (-16 * 60, 16 * 60, -86_400):
        signer = Signer(date=now(shift))
        answer = signed("GET", "/", signer=signer).expect(403, "RequestTimeTooSkewed")
        date = signer.date
        shown = f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[9:11]}:{date[11:13]}:{date[13:15]}Z"
        true(shown.encode() in answer.body, "it does not name the request's time")
        true(now()[:4].encode() + b"-" in answer.body, "it does not name the server's time")
    signed("GET", "/", signer=Signer(date=now(-10 * 60))).expect(200)


@check
def a_body_that_was_changed_is_refused():
    name = bucket()
    payload = hashlib.sha256(b"signed").hexdigest()
    answer = signed("PUT", f"/{name}/k", b"sent__", payload=payload)
    answer.expect(400, "XAmzContentSHA256Mismatch")
    refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k")


@check
def a_body_may_be_unsigned():
    name = bucket()
    signed("PUT", f"/{name}/k", b"body", payload="UNSIGNED-PAYLOAD").expect(200)
    same(s3.get_object(Bucket=name, Key="k")["Body"].read(), b"body", "object")


@check
def headers_that_mean_something_must_be_signed():
    name = bucket()
    s3.put_object(Bucket=name, Key="a", Body=b"x")
    extra = {"x-amz-copy-source": f"{name}/a"}
    answer = signed("PUT", f"/{name}/b", extra=extra, leave_out=("x-amz-copy-source",))
    answer.expect(403, "AccessDenied")


@check
def the_scope_must_be_one_of_s3():
    signed("GET", "/", signer=Signer(service="sts")).expect(400, "AuthorizationHeaderMalformed")


@check
def presigned_urls_read_and_write():
    name, signer = bucket(), Signer()
    send("PUT", signer.presigned("PUT", f"/{name}/a%20b", 60), body=b"body").expect(200)
    same(send("GET", signer.presigned("GET", f"/{name}/a%20b", 60)).expect(200).body, b"body", "object")
    url = s3.generate_presigned_url("get_object", {"Bucket": name, "Key": "a b"}, ExpiresIn=60)
    split = urllib.parse.urlsplit(url)
    same(send("GET", f"{split.path}?{split.query}").expect(200).body, b"body", "object by boto3")
    send("PUT", signer.presigned("GET", f"/{name}/a%20b", 60), body=b"x").expect(
        403, "SignatureDoesNotMatch"
    )


@check
def presigned_urls_end():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    path = f"/{name}/k"
    send("GET", Signer(date=now(-100)).presigned("GET", path, 99)).expect(403, "AccessDenied")
    send("GET", Signer(date=now(-100)).presigned("GET", path, 200)).expect(200)
    send("GET", Signer().presigned("GET", path, 604_800)).expect(200)
    for expires in (604_801, 9_999_999, -1, "x"):
        answer = send("GET", Signer().presigned("GET", path, expires))
        answer.expect(400, "AuthorizationQueryParametersError")
    future = Signer(date=now(16 * 60)).presigned("GET", path, 60)
    send("GET", future).expect(403, "RequestTimeTooSkewed")


@check
def presigned_urls_cannot_be_changed():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    url = Signer().presigned("GET", f"/{name}/k", 60)
    send("GET", url.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).expect(403, "SignatureDoesNotMatch")
    send("GET", url.replace("/k?", "/l?")).expect(403, "SignatureDoesNotMatch")
    send("GET", url + "&versionId=null").expect(403, "SignatureDoesNotMatch")


@check
def a_request_is_signed_in_one_way():
    path = Signer().presigned("GET", "/", 60)
    send("GET", path, {"authorization": "AWS4-HMAC-SHA256 x"}).expect(400, "InvalidArgument")


@check
def forms_are_refused_unread():
    headers = {"content-type": "multipart/form-data; boundary=x"}
    send("POST", f"/{bucket()}", headers, b"--x--").expect(501, "NotImplemented")


@check
def buckets_can_be_part_of_the_host_name():
    if not DOMAIN:
        return
    name = bucket()
    port = f":{URL.port}" if URL.port else ""
    host = f"{name}.{DOMAIN}{port}"
    signed("PUT", "/a/b", b"body", host=host).expect(200)
    same(signed("GET", "/a/b", host=host).expect(200).body, b"body", "object")
    same(s3.get_object(Bucket=name, Key="a/b")["Body"].read(), b"body", "object by path")
    true(b"<Key>a/b</Key>" in signed("GET", "/?list-type=2", host=host).expect(200).body, "listing")


@check
def headers_in_a_presigned_url_count():
    name = bucket()
    more = {"x-amz-meta-a": "b c", "x-amz-acl": "private"}
    send("PUT", Signer().presigned("PUT", f"/{name}/k", 60, more), body=b"x").expect(200)
    same(s3.head_object(Bucket=name, Key="k")["Metadata"], {"a": "b c"}, "metadata")
    encrypted = {"x-amz-server-side-encryption": "AES256"}
    answer = send("PUT", Signer().presigned("PUT", f"/{name}/k2", 60, encrypted), body=b"x")
    answer.expect(501, "NotImplemented")
