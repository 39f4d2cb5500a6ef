"""Copies."""

from conformance.check_objects import FUTURE, ODD_KEYS, PAST
from conformance.check_checksums import field
from conformance.service import MIB, bucket, check, data, md5, refused, s3, same, sums


@check
def a_copy_has_the_bytes_and_what_was_said():
    name, other, body = bucket(), bucket(), data(MIB + 5)
    s3.put_object(Bucket=name, Key="a", Body=body, ContentType="text/x", Metadata={"m": "1"})
    copied = s3.copy_object(Bucket=other, Key="b", CopySource=f"{name}/a")["CopyObjectResult"]
    same(copied["ETag"], f'"{md5(body)}"', "entity tag")
    got = s3.get_object(Bucket=other, Key="b")
    same(md5(got["Body"].read()), md5(body), "bytes")
    same((got["ContentType"], got["Metadata"]), ("text/x", {"m": "1"}), "attributes")


@check
def a_copy_can_say_something_else():
    name = bucket()
    s3.put_object(Bucket=name, Key="a", Body=b"x", ContentType="text/x", Metadata={"m": "1"})
    new = {"MetadataDirective": "REPLACE", "ContentType": "text/y", "Metadata": {"n": "2"}}
    s3.copy_object(Bucket=name, Key="b", CopySource={"Bucket": name, "Key": "a"}, **new)
    got = s3.head_object(Bucket=name, Key="b")
    same((got["ContentType"], got["Metadata"]), ("text/y", {"n": "2"}), "attributes")


@check
def a_copy_onto_itself_must_change_something():
    name = bucket()
    s3.put_object(Bucket=name, Key="a", Body=b"x")
    source = {"Bucket": name, "Key": "a"}
    refused("InvalidRequest", 400, s3.copy_object, Bucket=name, Key="a", CopySource=source)
    s3.copy_object(
        Bucket=name, Key="a", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"}
    )
    got = s3.get_object(Bucket=name, Key="a")
    same((got["Body"].read(), got["Metadata"]), (b"x", {"n": "2"}), "object")


@check
def copies_can_have_conditions_on_their_source():
    name = bucket()
    tag = s3.put_object(Bucket=name, Key="a", Body=b"x")["ETag"]
    source = {"Bucket": name, "Key": "a"}
    for holds in (
        {"CopySourceIfMatch": tag}, {"CopySourceIfNoneMatch": '"other"'},
        {"CopySourceIfModifiedSince": PAST}, {"CopySourceIfUnmodifiedSince": FUTURE},
    ):
        s3.copy_object(Bucket=name, Key="b", CopySource=source, **holds)
    for fails in (
        {"CopySourceIfMatch": '"other"'}, {"CopySourceIfNoneMatch": tag},
        {"CopySourceIfUnmodifiedSince": PAST}, {"CopySourceIfModifiedSince": FUTURE},
    ):
        refused(
            "PreconditionFailed", 412, s3.copy_object, Bucket=name, Key="c", CopySource=source, **fails
        )


@check
def what_is_not_there_cannot_be_copied():
    name = bucket()
    for code, source in (("NoSuchKey", f"{name}/gone"), ("NoSuchBucket", "conf-not-there/x")):
        refused(code, 404, s3.copy_object, Bucket=name, Key="b", CopySource=source)


@check
def odd_keys_can_be_copied():
    name = bucket()
    for number, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
        s3.copy_object(Bucket=name, Key=f"copy{number}", CopySource={"Bucket": name, "Key": key})
        got = s3.get_object(Bucket=name, Key=f"copy{number}")["Body"].read()
        same(got, key.encode(), f"copy of {key!r}")


@check
def a_copy_keeps_the_kind_of_checksum_or_gets_another():
    name = bucket()
    s3.put_object(Bucket=name, Key="a", Body=b"x", ChecksumAlgorithm="SHA1")
    source = {"Bucket": name, "Key": "a"}
    s3.copy_object(Bucket=name, Key="b", CopySource=source)
    s3.copy_object(Bucket=name, Key="c", CopySource=source, ChecksumAlgorithm="SHA256")
    for key, algorithm in (("b", "SHA1"), ("c", "SHA256")):
        got = s3.head_object(Bucket=name, Key=key, ChecksumMode="ENABLED")
        same(got.get(field(algorithm)), sums(b"x")[algorithm], algorithm)
