"""Checksums in headers and trailers, and chunked bodies."""

import hashlib
import zlib

from conformance.requests import put_signed_chunks, put_with_trailer, signed
from conformance.service import MIB, b64, bucket, check, data, md5, refused, s3, same, sums, true


def field(algorithm):
    return f"Checksum{algorithm}"


def header(algorithm):
    return f"x-amz-checksum-{algorithm.lower()}"


@check
def checksums_in_headers_are_compared_and_kept():
    name, body = bucket(), data(5000)
    for algorithm, value in sums(body).items():
        put = signed("PUT", f"/{name}/{algorithm}", body, {header(algorithm): value}).expect(200)
        same(put.headers.get(header(algorithm)), value, "checksum of PUT")
        for call in (s3.get_object, s3.head_object):
            got = call(Bucket=name, Key=algorithm, ChecksumMode="ENABLED")
            same(got.get(field(algorithm)), value, f"{algorithm} kept")
            same(got.get("ChecksumType"), "FULL_OBJECT", "type")


@check
def a_wrong_checksum_is_refused_and_nothing_is_stored():
    name = bucket()
    for algorithm, value in sums(b"other").items():
        answer = signed("PUT", f"/{name}/k", b"body", {header(algorithm): value})
        answer.expect(400, "BadDigest")
        refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k")


@check
def a_checksum_of_the_wrong_length_is_refused():
    name = bucket()
    signed("PUT", f"/{name}/k", b"x", {"x-amz-checksum-crc32": "AAAA"}).expect(400, "InvalidRequest")
    signed("PUT", f"/{name}/k", b"x", {"x-amz-checksum-sha1": "?"}).expect(400, "InvalidRequest")


@check
def two_checksums_are_refused():
    all_sums = sums(b"x")
    two = {header(a): all_sums[a] for a in ("CRC32", "SHA1")}
    signed("PUT", f"/{bucket()}/k", b"x", two).expect(400, "InvalidRequest")


@check
def an_announced_checksum_must_come():
    extra = {"x-amz-sdk-checksum-algorithm": "CRC32"}
    signed("PUT", f"/{bucket()}/k", b"x", extra).expect(400, "InvalidRequest")


@check
def content_md5_is_compared():
    name = bucket()
    good = b64(hashlib.md5(b"body").digest())
    signed("PUT", f"/{name}/k", b"body", {"content-md5": good}).expect(200)
    wrong = b64(hashlib.md5(b"other").digest())
    signed("PUT", f"/{name}/k2", b"body", {"content-md5": wrong}).expect(400, "BadDigest")
    signed("PUT", f"/{name}/k2", b"body", {"content-md5": "x"}).expect(400, "InvalidDigest")
    refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k2")


@check
def boto3_checksums_of_its_own_accord():
    name, body = bucket(), data(300_000)
    put = s3.put_object(Bucket=name, Key="k", Body=body)
    same(put.get("ChecksumCRC32"), sums(body)["CRC32"], "CRC32 of PUT")
    for algorithm in ("SHA1", "SHA256", "CRC32"):
        put = s3.put_object(Bucket=name, Key=algorithm, Body=body, ChecksumAlgorithm=algorithm)
        same(put.get(field(algorithm)), sums(body)[algorithm], algorithm)


@check
def a_range_has_no_checksum_of_the_whole():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"12345", ChecksumAlgorithm="SHA256")
    got = s3.get_object(Bucket=name, Key="k", Range="bytes=0-1", ChecksumMode="ENABLED")
    true("ChecksumSHA256" not in got, "a range has the checksum of the whole")


@check
def checksums_behind_the_body_are_compared_and_kept():
    name, body = bucket(), data(200_001)
    for algorithm, value in sums(body).items():
        pieces = [body[:65_536], body[65_536:131_072], body[131_072:]]
        path, trailer = f"/{name}/{algorithm}", {header(algorithm): value}
        put_with_trailer(path, pieces, header(algorithm), trailer).expect(200)
        got = s3.get_object(Bucket=name, Key=algorithm, ChecksumMode="ENABLED")
        same(md5(got["Body"].read()), md5(body), "bytes")
        same(got.get(field(algorithm)), value, algorithm)
        true("ContentEncoding" not in got, "aws-chunked was kept as a coding")


@check
def an_unsigned_chunk_may_be_the_whole_object():
    name, body = bucket(), data(20 * MIB)
    value = b64(zlib.crc32(body).to_bytes(4, "big"))
    trailer = {"x-amz-checksum-crc32": value}
    put_with_trailer(f"/{name}/k", [body], "x-amz-checksum-crc32", trailer).expect(200)
    same(md5(s3.get_object(Bucket=name, Key="k")["Body"].read()), md5(body), "bytes")


@check
def a_wrong_trailer_is_refused_and_nothing_is_stored():
    path, announced = f"/{bucket()}/k", "x-amz-checksum-crc32"
    wrong = {announced: sums(b"other")["CRC32"]}
    put_with_trailer(path, [b"body"], announced, wrong).expect(400, "BadDigest")
    put_with_trailer(path, [b"body"], announced, {}).expect(400, "MalformedTrailerError")
    other = {"x-amz-checksum-sha1": sums(b"body")["SHA1"]}
    put_with_trailer(path, [b"body"], announced, other).expect(400, "MalformedTrailerError")
    short = {announced: "AAAA"}
    put_with_trailer(path, [b"body"], announced, short).expect(400, "MalformedTrailerError")
    signed("GET", path).expect(404, "NoSuchKey")


@check
def a_chunked_body_must_have_its_declared_length():
    path, announced = f"/{bucket()}/k", "x-amz-checksum-crc32"
    good = {announced: sums(b"body")["CRC32"]}
    for decoded in (3, 5):
        put_with_trailer(path, [b"body"], announced, good, decoded).expect(400, "IncompleteBody")
    signed("GET", path).expect(404, "NoSuchKey")


@check
def signed_chunks_are_compared():
    name, pieces = bucket(), [data(65_536), data(65_536, 2), data(1000, 3)]
    put_signed_chunks(f"/{name}/k", pieces).expect(200)
    same(s3.get_object(Bucket=name, Key="k")["Body"].read(), b"".join(pieces), "bytes")
    for spoil in (0, 1, 3):
        answer = put_signed_chunks(f"/{name}/k2", pieces, spoil=spoil)
        answer.expect(403, "SignatureDoesNotMatch")
    refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k2")


@check
def signed_chunks_can_have_a_signed_trailer():
    name, pieces = bucket(), [data(65_536), data(10, 2)]
    body = b"".join(pieces)
    trailers = {"x-amz-checksum-crc32c": sums(body)["CRC32C"]}
    put_signed_chunks(f"/{name}/k", pieces, trailers).expect(200)
    got = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
    same((got["Body"].read(), got["ChecksumCRC32C"]), (body, sums(body)["CRC32C"]), "object")
    spoiled = put_signed_chunks(f"/{name}/k2", pieces, trailers, spoil="trailer")
    spoiled.expect(403, "SignatureDoesNotMatch")
    wrong = {"x-amz-checksum-crc32c": sums(b"other")["CRC32C"]}
    put_signed_chunks(f"/{name}/k2", pieces, wrong).expect(400, "BadDigest")
    refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k2")
