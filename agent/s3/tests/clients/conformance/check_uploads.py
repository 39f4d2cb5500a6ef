"""Uploads in parts."""

import hashlib
import os
import zlib

from conformance.check_objects import ranged
from conformance.check_checksums import field
from conformance.requests import signed
from conformance.service import MIB, b64, bucket, check, data, md5, refused, s3, same, sums, true


def begin(name, key="k", **more):
    return s3.create_multipart_upload(Bucket=name, Key=key, **more)["UploadId"]


def part(name, upload, number, body, key="k", **more):
    return s3.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=number, Body=body, **more)


def complete(name, upload, parts, key="k", **more):
    parts = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in parts]}
    return s3.complete_multipart_upload(
        Bucket=name, Key=key, UploadId=upload, MultipartUpload=parts, **more
    )


def tag_of_parts(*bodies):
    joined = b"".join(hashlib.md5(body).digest() for body in bodies)
    return f'"{md5(joined)}-{len(bodies)}"'


@check
def an_object_can_be_uploaded_in_parts():
    name, one, two = bucket(), data(5 * MIB), data(1234, 2)
    upload = begin(name, ContentType="text/x", Metadata={"m": "1"})
    tags = [(n, part(name, upload, n, body)["ETag"]) for n, body in ((1, one), (7, two))]
    refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k")
    done = complete(name, upload, tags)
    same(done["ETag"], tag_of_parts(one, two), "entity tag")
    same((done["Bucket"], done["Key"]), (name, "k"), "names")
    got = s3.get_object(Bucket=name, Key="k")
    same(md5(got["Body"].read()), md5(one + two), "bytes")
    same((got["ContentType"], got["Metadata"], got["ETag"]), ("text/x", {"m": "1"}, done["ETag"]), "head")
    same(ranged(name, "k", f"bytes={5 * MIB - 2}-{5 * MIB + 1}")[0], one[-2:] + two[:2], "range")


@check
def parts_can_come_in_any_order_and_again():
    name, one, two = bucket(), data(5 * MIB), data(10, 2)
    upload = begin(name)
    last = part(name, upload, 2, two)["ETag"]
    part(name, upload, 1, data(5 * MIB, 9))
    first = part(name, upload, 1, one)["ETag"]
    complete(name, upload, [(1, first), (2, last)])
    same(md5(s3.get_object(Bucket=name, Key="k")["Body"].read()), md5(one + two), "bytes")


@check
def parts_that_are_not_named_are_left_out():
    name, two = bucket(), data(10, 2)
    upload = begin(name)
    part(name, upload, 1, data(10))
    complete(name, upload, [(2, part(name, upload, 2, two)["ETag"])])
    same(s3.get_object(Bucket=name, Key="k")["Body"].read(), two, "bytes")


@check
def parts_must_be_named_in_order():
    name = bucket()
    upload = begin(name)
    tags = [(n, part(name, upload, n, data(10))["ETag"]) for n in (1, 2)]
    refused("InvalidPartOrder", 400, complete, name, upload, reversed(tags))
    refused("InvalidPartOrder", 400, complete, name, upload, [tags[0], tags[0]])


@check
def parts_must_be_there_with_their_tag():
    name = bucket()
    upload = begin(name)
    tag = part(name, upload, 1, data(10))["ETag"]
    refused("InvalidPart", 400, complete, name, upload, [(2, tag)])
    refused("InvalidPart", 400, complete, name, upload, [(1, f'"{md5(b"other")}"')])
    refused("InvalidPart", 400, complete, name, upload, [(1, '"no-md5"')])
    refused("MalformedXML", 400, complete, name, upload, [])


@check
def parts_but_the_last_need_five_mebibytes():
    name = bucket()
    upload = begin(name)
    tags = [(n, part(name, upload, n, data(5 * MIB - 1))["ETag"]) for n in (1, 2)]
    refused("EntityTooSmall", 400, complete, name, upload, tags)
    complete(name, upload, tags[:1])


@check
def part_numbers_end_at_ten_thousand():
    name = bucket()
    upload = begin(name)
    part(name, upload, 10_000, b"x")
    for number in (0, 10_001):
        refused("InvalidArgument", 400, part, name, upload, number, b"x")


@check
def an_upload_that_is_not_there_is_told_so():
    name = bucket()
    upload = begin(name)
    s3.abort_multipart_upload(Bucket=name, Key="k", UploadId=upload)
    for id_ in (upload, "made-up", "0" * 32):
        refused("NoSuchUpload", 404, part, name, id_, 1, b"x")
        refused("NoSuchUpload", 404, complete, name, id_, [(1, f'"{md5(b"x")}"')])
        refused("NoSuchUpload", 404, s3.list_parts, Bucket=name, Key="k", UploadId=id_)
        refused("NoSuchUpload", 404, s3.abort_multipart_upload, Bucket=name, Key="k", UploadId=id_)
    other = begin(name, "other")
    refused("NoSuchUpload", 404, part, name, other, 1, b"x", key="k")


@check
def completing_again_gives_the_same_answer():
    name = bucket()
    upload = begin(name)
    tags = [(1, part(name, upload, 1, b"x")["ETag"])]
    first = complete(name, upload, tags)
    same(complete(name, upload, tags)["ETag"], first["ETag"], "entity tag")
    s3.put_object(Bucket=name, Key="k", Body=b"new")
    refused("NoSuchUpload", 404, complete, name, upload, tags)


@check
def completing_can_have_a_condition():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"old")
    upload = begin(name)
    tags = [(1, part(name, upload, 1, b"x")["ETag"])]
    refused("PreconditionFailed", 412, complete, name, upload, tags, IfNoneMatch="*")
    same(s3.get_object(Bucket=name, Key="k")["Body"].read(), b"old", "object")
    s3.delete_object(Bucket=name, Key="k")
    complete(name, upload, tags, IfNoneMatch="*")


@check
def parts_are_listed_page_by_page():
    name = bucket()
    upload = begin(name)
    for number in (1, 3, 5, 10_000):
        part(name, upload, number, data(number % 100))
    found, marker = [], 0
    while True:
        page = s3.list_parts(
            Bucket=name, Key="k", UploadId=upload, MaxParts=3, PartNumberMarker=marker
        )
        found += [(p["PartNumber"], p["Size"], p["ETag"]) for p in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    expected = [(n, n % 100, f'"{md5(data(n % 100))}"') for n in (1, 3, 5, 10_000)]
    same(found, expected, "parts")


@check
def uploads_are_listed_by_prefix_and_page():
    name = bucket()
    uploads = [(key, begin(name, key)) for key in ("a", "b/1", "b/2", "b/2", "c")]
    uploads = sorted(uploads)
    found, markers = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=name, MaxUploads=2, **markers)
        found += [(u["Key"], u["UploadId"]) for u in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    same(found, uploads, "uploads")
    page = s3.list_multipart_uploads(Bucket=name, Delimiter="/")
    same([u["Key"] for u in page["Uploads"]], ["a", "c"], "keys")
    same([p["Prefix"] for p in page["CommonPrefixes"]], ["b/"], "prefixes")
    page = s3.list_multipart_uploads(Bucket=name, Prefix="b/")
    same([u["Key"] for u in page["Uploads"]], ["b/1", "b/2", "b/2"], "keys below b/")
    page = s3.list_multipart_uploads(Bucket=name, KeyMarker="b/2")
    same([u["Key"] for u in page["Uploads"]], ["c"], "keys behind b/2")


@check
def an_open_upload_keeps_its_bucket():
    name = bucket()
    upload = begin(name)
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=name)
    s3.abort_multipart_upload(Bucket=name, Key="k", UploadId=upload)
    s3.delete_bucket(Bucket=name)


@check
def single_parts_can_be_read():
    name, one, two = bucket(), data(5 * MIB), data(99, 2)
    upload = begin(name)
    complete(name, upload, [(n, part(name, upload, n, b)["ETag"]) for n, b in ((1, one), (2, two))])
    got = s3.get_object(Bucket=name, Key="k", PartNumber=2)
    same(got["Body"].read(), two, "bytes")
    same((got["PartsCount"], got["ContentRange"]), (2, f"bytes {5 * MIB}-{5 * MIB + 98}/{5 * MIB + 99}"), "head")
    head = s3.head_object(Bucket=name, Key="k", PartNumber=1)
    same((head["ContentLength"], head["PartsCount"]), (5 * MIB, 2), "HEAD of part 1")
    refused("416", 416, s3.head_object, Bucket=name, Key="k", PartNumber=3)


@check
def parts_can_be_copied():
    name, body = bucket(), data(6 * MIB)
    s3.put_object(Bucket=name, Key="source", Body=body)
    upload, tags = begin(name), []
    source = {"Bucket": name, "Key": "source"}
    for number, text in ((1, None), (2, "bytes=10-1009")):
        more = {"CopySourceRange": text} if text else {}
        copied = s3.upload_part_copy(
            Bucket=name, Key="k", UploadId=upload, PartNumber=number, CopySource=source, **more
        )
        tags.append((number, copied["CopyPartResult"]["ETag"]))
    same(tags[1][1], f'"{md5(body[10:1010])}"', "entity tag")
    for wrong, status, code in (
        ("bytes=0-6291456", 416, "InvalidRange"), ("bytes=5-", 400, "InvalidArgument")
    ):
        refused(
            code, status, s3.upload_part_copy, Bucket=name, Key="k", UploadId=upload, PartNumber=3,
            CopySource=source, CopySourceRange=wrong,
        )
    complete(name, upload, tags)
    got = s3.get_object(Bucket=name, Key="k")["Body"].read()
    same(md5(got), md5(body + body[10:1010]), "bytes")


@check
def an_upload_can_have_checksums_of_checksums():
    name, one, two = bucket(), data(5 * MIB), data(999, 2)
    for algorithm, digest in (
        ("CRC32", lambda b: zlib.crc32(b).to_bytes(4, "big")), ("SHA256", lambda b: hashlib.sha256(b).digest())
    ):
        upload = begin(name, ChecksumAlgorithm=algorithm)
        parts = []
        for number, body in ((1, one), (2, two)):
            put = part(name, upload, number, body, ChecksumAlgorithm=algorithm)
            same(put[field(algorithm)], b64(digest(body)), "checksum of a part")
            parts.append({"PartNumber": number, "ETag": put["ETag"], field(algorithm): put[field(algorithm)]})
        listed_parts = s3.list_parts(Bucket=name, Key="k", UploadId=upload)
        same(listed_parts["ChecksumAlgorithm"], algorithm, "algorithm")
        same(listed_parts["Parts"][1][field(algorithm)], b64(digest(two)), "listed checksum")
        expected = b64(digest(digest(one) + digest(two))) + "-2"
        wrong = [parts[0], {**parts[1], field(algorithm): b64(digest(b"other"))}]
        names = {"Bucket": name, "Key": "k", "UploadId": upload}
        refused("InvalidPart", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": wrong}, **names)
        done = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **names)
        same((done[field(algorithm)], done["ChecksumType"]), (expected, "COMPOSITE"), "checksum")
        head = s3.head_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
        same((head[field(algorithm)], head["ChecksumType"]), (expected, "COMPOSITE"), "kept checksum")


@check
def an_upload_can_have_a_checksum_of_the_whole():
    name, one, two = bucket(), data(5 * MIB), data(999, 2)
    whole = b64(zlib.crc32(one + two).to_bytes(4, "big"))
    upload = begin(name, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    tags = [(n, part(name, upload, n, b)["ETag"]) for n, b in ((1, one), (2, two))]
    wrong = sums(b"other")["CRC32"]
    refused(
        "BadDigest", 400, complete, name, upload, tags, ChecksumCRC32=wrong, ChecksumType="FULL_OBJECT"
    )
    refused("InvalidRequest", 400, complete, name, upload, tags, MpuObjectSize=5)
    done = complete(
        name, upload, tags, ChecksumCRC32=whole, ChecksumType="FULL_OBJECT",
        MpuObjectSize=len(one) + len(two),
    )
    same((done["ChecksumCRC32"], done["ChecksumType"]), (whole, "FULL_OBJECT"), "checksum")


@check
def a_part_with_a_wrong_checksum_is_refused():
    name = bucket()
    upload = begin(name)
    path = f"/{name}/k?partNumber=1&uploadId={upload}"
    wrong = {"x-amz-checksum-crc32": sums(b"other")["CRC32"]}
    signed("PUT", path, b"body", wrong).expect(400, "BadDigest")
    md5_wrong = {"content-md5": b64(hashlib.md5(b"other").digest())}
    signed("PUT", path, b"body", md5_wrong).expect(400, "BadDigest")
    true("Parts" not in s3.list_parts(Bucket=name, Key="k", UploadId=upload), "the part was kept")


@check
def a_part_must_have_the_checksum_of_its_upload():
    name = bucket()
    upload = begin(name, ChecksumAlgorithm="SHA1")
    path = f"/{name}/k?partNumber=1&uploadId={upload}"
    other = {"x-amz-checksum-crc32": sums(b"body")["CRC32"]}
    signed("PUT", path, b"body", other).expect(400, "InvalidRequest")


@check
def checksum_types_that_cannot_be_are_refused():
    name = bucket()
    for algorithm, kind in (("SHA1", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")):
        refused("InvalidRequest", 400, begin, name, ChecksumAlgorithm=algorithm, ChecksumType=kind)


@check
def boto3_uploads_large_files_of_its_own_accord():
    name, body = bucket(), data(20 * MIB)
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"s3-conformance-{os.getpid()}")
    try:
        with open(path, "wb") as file:
            file.write(body)
        s3.upload_file(path, name, "k")
        s3.download_file(name, "k", path)
        with open(path, "rb") as file:
            same(md5(file.read()), md5(body), "bytes")
    finally:
        os.unlink(path)
