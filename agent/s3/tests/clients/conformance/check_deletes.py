"""Deleting many objects at once."""

import hashlib

from conformance.requests import signed
from conformance.service import b64, bucket, check, refused, s3, same, sums, true


@check
def many_objects_are_deleted_at_once():
    name = bucket()
    keys = ["a", "b&<c>", "d e", "é", "never-there", " f "]
    for key in keys[:4] + keys[5:]:
        s3.put_object(Bucket=name, Key=key, Body=b"")
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys]})
    same(sorted(entry["Key"] for entry in answer["Deleted"]), sorted(keys), "deleted")
    true("Errors" not in answer, "there are errors")
    same(s3.list_objects_v2(Bucket=name)["KeyCount"], 0, "keys left")


@check
def deleting_quietly_tells_errors_only():
    name = bucket()
    s3.put_object(Bucket=name, Key="a", Body=b"")
    objects = [{"Key": "a"}, {"Key": "b", "ETag": '"other"'}]
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True})
    true("Deleted" not in answer, "it was not quiet")
    same([(e["Key"], e["Code"]) for e in answer["Errors"]], [("b", "PreconditionFailed")], "errors")


@check
def at_most_a_thousand_objects_are_deleted_at_once():
    name = bucket()
    objects = [{"Key": f"k{number}"} for number in range(1001)]
    refused("MalformedXML", 400, s3.delete_objects, Bucket=name, Delete={"Objects": objects})
    s3.delete_objects(Bucket=name, Delete={"Objects": objects[:1000], "Quiet": True})


@check
def a_list_to_delete_must_be_what_was_sent():
    name = bucket()
    s3.put_object(Bucket=name, Key="a", Body=b"")
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    wrong = {"content-md5": b64(hashlib.md5(b"other").digest())}
    signed("POST", f"/{name}?delete=", body, wrong).expect(400, "BadDigest")
    wrong = {"x-amz-checksum-crc32": sums(b"other")["CRC32"]}
    signed("POST", f"/{name}?delete=", body, wrong).expect(400, "BadDigest")
    s3.head_object(Bucket=name, Key="a")
    signed("POST", f"/{name}?delete=", body[:-3]).expect(400, "MalformedXML")
    good = {"content-md5": b64(hashlib.md5(body).digest())}
    signed("POST", f"/{name}?delete=", body, good).expect(200)
    refused("404", 404, s3.head_object, Bucket=name, Key="a")
