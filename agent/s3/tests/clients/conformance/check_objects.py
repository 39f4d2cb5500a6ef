"""Objects: bytes, attributes, keys, ranges, conditions."""

import datetime

from conformance.requests import signed
from conformance.service import MIB, bucket, check, data, md5, refused, s3, same, true


@check
def objects_of_all_sizes_come_back_as_they_went():
    name = bucket()
    for size in (0, 1, 4095, 4096, 65_536, MIB + 1, 9 * MIB):
        body = data(size, size)
        put = s3.put_object(Bucket=name, Key=f"o{size}", Body=body)
        same(put["ETag"], f'"{md5(body)}"', "entity tag")
        got = s3.get_object(Bucket=name, Key=f"o{size}")
        same(got["ContentLength"], size, "length")
        same(md5(got["Body"].read()), md5(body), f"bytes of {size}")
        same(got["ETag"], put["ETag"], "entity tag of GET")


@check
def head_tells_what_get_tells():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"abc", ContentType="text/x", Metadata={"a": "b"})
    head, got = s3.head_object(Bucket=name, Key="k"), s3.get_object(Bucket=name, Key="k")
    for field in ("ContentLength", "ETag", "LastModified", "ContentType", "Metadata", "AcceptRanges"):
        same(head[field], got[field], field)
    same(head["AcceptRanges"], "bytes", "accept-ranges")


@check
def what_the_writer_says_comes_back():
    name = bucket()
    said = {
        "ContentType": "text/plain; charset=utf-8",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentDisposition": 'attachment; filename="a b.txt"',
        "CacheControl": "max-age=60",
        "WebsiteRedirectLocation": "/elsewhere",
        "Metadata": {"one": "1", "with-dash": "some words", "upper": "CaSe"},
    }
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    s3.put_object(Bucket=name, Key="k", Body=b"x", Expires=expires, **said)
    got = s3.get_object(Bucket=name, Key="k")
    for field, value in said.items():
        same(got[field], value, field)
    same(got["ResponseMetadata"]["HTTPHeaders"]["expires"], "Wed, 02 Jan 2030 03:04:05 GMT", "expires")


@check
def an_object_of_unknown_type_is_octets():
    name = bucket()
    signed("PUT", f"/{name}/k", b"x").expect(200)
    same(s3.head_object(Bucket=name, Key="k")["ContentType"], "binary/octet-stream", "type")


@check
def too_much_metadata_is_refused():
    refused(
        "MetadataTooLarge", 400, s3.put_object, Bucket=bucket(), Key="k", Body=b"",
        Metadata={"a": "x" * 2048},
    )


@check
def writing_again_replaces():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"one", Metadata={"a": "1"})
    s3.put_object(Bucket=name, Key="k", Body=b"second")
    got = s3.get_object(Bucket=name, Key="k")
    same((got["Body"].read(), got["Metadata"]), (b"second", {}), "object")


@check
def an_object_that_is_not_there_is_told_so():
    name = bucket()
    error = refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="gone")
    true(error["Error"]["Message"], "no message")
    refused("404", 404, s3.head_object, Bucket=name, Key="gone")


@check
def deleting_is_final_and_can_be_repeated():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    for _ in range(2):
        answer = s3.delete_object(Bucket=name, Key="k")
        same(answer["ResponseMetadata"]["HTTPStatusCode"], 204, "status")
    refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k")


ODD_KEYS = [
    "a//b", "//", "/", "/lead", "trail/", "../x", "a/../b", "./x", ".", "..", " ", " lead", "trail ",
    "a b", "a+b", "a%20b", "%", "%2F", "100%", "a&b", "a=b", "a?b", "a#b", "a;b", "a:b", "a@b", "a,b",
    "a$b", "a!b", "a*b", "a'b", 'a"b', "a(b)", "a[b]", "a{b}", "a|b", "a\\b", "a^b", "a`b", "a~b",
    "a<b>", "ключ", "鍵/値", "emoji-🗝", "e\u0301", "\u00e9", "tab\there", "line\nbreak", "\x01", "\x7f",
    "uploads", "location", "CON", "a" * 255 + "/" + "b" * 255,
]


@check
def odd_keys_are_keys_like_others():
    name = bucket()
    for key in ODD_KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        same(s3.get_object(Bucket=name, Key=key)["Body"].read(), key.encode(), f"object {key!r}")
    expected = sorted(ODD_KEYS, key=str.encode)
    found = [entry["Key"] for entry in s3.list_objects_v2(Bucket=name)["Contents"]]
    same(found, expected, "listing 2")
    found = [entry["Key"] for entry in s3.list_objects(Bucket=name)["Contents"]]
    same(found, expected, "listing 1")
    for key in ODD_KEYS:
        s3.delete_object(Bucket=name, Key=key)
    same(s3.list_objects_v2(Bucket=name)["KeyCount"], 0, "keys left")


@check
def keys_end_at_1024_bytes():
    name = bucket()
    for key in ("k" * 1024, "ü" * 512):
        s3.put_object(Bucket=name, Key=key, Body=b"x")
        same(s3.get_object(Bucket=name, Key=key)["Body"].read(), b"x", "object")
    for key in ("k" * 1025, "ü" * 513):
        refused("KeyTooLongError", 400, s3.put_object, Bucket=name, Key=key, Body=b"x")


@check
def answers_name_the_request():
    headers = s3.list_buckets()["ResponseMetadata"]["HTTPHeaders"]
    true(headers.get("x-amz-request-id"), "no x-amz-request-id")
    answer = signed("GET", "/conf-not-there/some%20key").expect(404, "NoSuchBucket")
    true(answer.headers["x-amz-request-id"].encode() in answer.body, "the error has no RequestId")
    true(b"<Resource>/conf-not-there/some%20key</Resource>" in answer.body, "no Resource")


def ranged(name, key, text):
    got = s3.get_object(Bucket=name, Key=key, Range=text)
    same(got["ResponseMetadata"]["HTTPStatusCode"], 206, f"status of {text}")
    return got["Body"].read(), got["ContentRange"]


@check
def ranges_give_the_bytes_asked_for():
    name, body = bucket(), data(100_000)
    s3.put_object(Bucket=name, Key="k", Body=body)
    for text, part, told in (
        ("bytes=0-0", body[:1], "bytes 0-0/100000"),
        ("bytes=10-19", body[10:20], "bytes 10-19/100000"),
        ("bytes=65530-65550", body[65530:65551], "bytes 65530-65550/100000"),
        ("bytes=99999-", body[99999:], "bytes 99999-99999/100000"),
        ("bytes=5-", body[5:], "bytes 5-99999/100000"),
        ("bytes=-7", body[-7:], "bytes 99993-99999/100000"),
        ("bytes=-200000", body, "bytes 0-99999/100000"),
        ("bytes=99990-200000", body[99990:], "bytes 99990-99999/100000"),
    ):
        same(ranged(name, "k", text), (part, told), text)


@check
def ranges_outside_are_refused_with_the_size():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"12345")
    s3.put_object(Bucket=name, Key="empty", Body=b"")
    for key, text in (("k", "bytes=5-"), ("k", "bytes=5-9"), ("k", "bytes=-0"), ("empty", "bytes=0-")):
        error = refused("InvalidRange", 416, s3.get_object, Bucket=name, Key=key, Range=text)
        size = 5 if key == "k" else 0
        told = error["ResponseMetadata"]["HTTPHeaders"].get("content-range")
        same(told, f"bytes */{size}", "content-range")


@check
def head_knows_ranges():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"12345")
    head = s3.head_object(Bucket=name, Key="k", Range="bytes=1-2")
    same((head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]), (2, 206), "range")


@check
def answers_can_be_given_other_headers():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x", ContentType="text/plain")
    asked = {
        "ResponseContentType": "image/x",
        "ResponseContentLanguage": "fr",
        "ResponseCacheControl": "no-store",
        "ResponseContentDisposition": "inline",
        "ResponseContentEncoding": "br",
    }
    for call in (s3.get_object, s3.head_object):
        got = call(Bucket=name, Key="k", **asked)
        for field, value in asked.items():
            same(got[field.removeprefix("Response")], value, field)


PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
FUTURE = datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc)


@check
def reads_can_have_conditions():
    name = bucket()
    tag = s3.put_object(Bucket=name, Key="k", Body=b"x")["ETag"]
    for call in (s3.get_object, s3.head_object):
        for holds in (
            {"IfMatch": tag}, {"IfMatch": tag.strip('"')}, {"IfMatch": "*"},
            {"IfNoneMatch": '"other"'}, {"IfModifiedSince": PAST}, {"IfUnmodifiedSince": FUTURE},
            {"IfMatch": tag, "IfUnmodifiedSince": PAST},
            {"IfNoneMatch": '"other"', "IfModifiedSince": FUTURE},
        ):
            call(Bucket=name, Key="k", **holds)
        code = "PreconditionFailed" if call == s3.get_object else "412"
        for fails in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": PAST}):
            refused(code, 412, call, Bucket=name, Key="k", **fails)
        for unmodified in (
            {"IfNoneMatch": tag}, {"IfNoneMatch": "*"}, {"IfModifiedSince": FUTURE},
            {"IfNoneMatch": tag, "IfModifiedSince": PAST},
        ):
            answer = refused("304", 304, call, Bucket=name, Key="k", **unmodified)
            same(answer["ResponseMetadata"]["HTTPHeaders"].get("etag"), tag, "entity tag of 304")


@check
def an_object_can_be_written_only_if_there_is_none():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"first", IfNoneMatch="*")
    refused("PreconditionFailed", 412, s3.put_object, Bucket=name, Key="k", Body=b"x", IfNoneMatch="*")
    same(s3.get_object(Bucket=name, Key="k")["Body"].read(), b"first", "object")


@check
def an_object_can_be_replaced_only_if_it_is_the_one_known():
    name = bucket()
    tag = s3.put_object(Bucket=name, Key="k", Body=b"first")["ETag"]
    new = s3.put_object(Bucket=name, Key="k", Body=b"second", IfMatch=tag)["ETag"]
    refused("PreconditionFailed", 412, s3.put_object, Bucket=name, Key="k", Body=b"x", IfMatch=tag)
    refused("PreconditionFailed", 412, s3.delete_object, Bucket=name, Key="k", IfMatch=tag)
    s3.delete_object(Bucket=name, Key="k", IfMatch=new)


@check
def a_refusal_reaches_a_client_that_sends_all_of_its_body_first():
    for size in (100_000, 5 * MIB, 20 * MIB):
        signed("PUT", "/conf-not-there/k", data(size)).expect(404, "NoSuchBucket")


@check
def an_object_in_one_piece_has_one_part():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"12345")
    got = s3.get_object(Bucket=name, Key="k", PartNumber=1)
    same((got["Body"].read(), got["ContentRange"]), (b"12345", "bytes 0-4/5"), "part 1")
    refused("InvalidRange", 416, s3.get_object, Bucket=name, Key="k", PartNumber=2)


@check
def connections_that_asked_first_go_on():
    name = bucket()
    for _ in range(20):
        refused("NoSuchBucket", 404, s3.put_object, Bucket="conf-not-there", Key="k", Body=b"x")
        s3.put_object(Bucket=name, Key="k", Body=b"x")
