"""The service under test: how to reach it, and what the checks are written with."""

import base64
import hashlib
import os
import urllib.parse
import zlib

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.handlers import validate_bucket_name

ENDPOINT = os.environ["S3_ENDPOINT"].rstrip("/")
REGION = os.environ.get("S3_REGION", "us-east-1")
DOMAIN = os.environ.get("S3_DOMAIN")
CA = os.environ.get("S3_CA")
KEYS = (os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"])
KEYS2 = (os.environ.get("S3_ACCESS_KEY2"), os.environ.get("S3_SECRET_KEY2"))
URL = urllib.parse.urlsplit(ENDPOINT)
MIB = 1 << 20

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def client(keys=KEYS, **config):
    config.setdefault("s3", {"addressing_style": "path"})
    made = boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        region_name=REGION,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        verify={None: None, "none": False}.get(CA, CA),
        config=Config(
            signature_version="s3v4", retries={"total_max_attempts": 1}, read_timeout=120, **config
        ),
    )
    made.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    return made


s3 = client()


class Failed(Exception):
    pass


def same(found, expected, what="value"):
    if found != expected:
        raise Failed(f"{what}: {found!r:.300} instead of {expected!r:.300}")


def true(found, what):
    if not found:
        raise Failed(what)


def refused(code, status, call, *args, **kwargs):
    """Calls, expects the error, and gives it back."""
    try:
        answer = call(*args, **kwargs)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        same(found, (code, status), "error")
        return error.response
    raise Failed(f"{code} expected, but it was done: {answer!r:.200}")


def data(size, seed=1):
    """Bytes that look random and are the same in every run."""
    block, out = hashlib.sha256(str(seed).encode()).digest(), bytearray()
    while len(out) < min(size, 64 << 10):
        out += block
        block = hashlib.sha256(block).digest()
    out = bytes(out)
    return (out * (size // max(len(out), 1) + 1))[:size]


def md5(body):
    return hashlib.md5(body).hexdigest()


def b64(raw):
    return base64.b64encode(raw).decode()


def crc_table(polynomial, bits):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return table, (1 << bits) - 1, bits // 8


CRC32C = crc_table(0x82F63B78, 32)
CRC64NVME = crc_table(0x9A6C9329AC4BC9B5, 64)


def crc(kind, body):
    table, mask, width = kind
    value = mask
    for byte in body:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return (value ^ mask).to_bytes(width, "big")


def sums(body):
    """All checksums that S3 knows, as it writes them."""
    return {
        "CRC32": b64(zlib.crc32(body).to_bytes(4, "big")),
        "CRC32C": b64(crc(CRC32C, body)),
        "CRC64NVME": b64(crc(CRC64NVME, body)),
        "SHA1": b64(hashlib.sha1(body).digest()),
        "SHA256": b64(hashlib.sha256(body).digest()),
    }


COUNT = 0


def bucket(owner=None):
    global COUNT
    COUNT += 1
    name = f"conf-{COUNT:04}"
    (owner or s3).create_bucket(Bucket=name)
    return name


def empty(owner, name):
    for page in owner.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            owner.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in owner.get_paginator("list_objects_v2").paginate(Bucket=name):
        keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
        if keys:
            answer = owner.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
            same(answer.get("Errors", []), [], "errors of cleaning up")
    owner.delete_bucket(Bucket=name)


def clean_up():
    for keys in (KEYS, KEYS2):
        if keys[0]:
            owner = client(keys)
            for entry in owner.list_buckets()["Buckets"]:
                if entry["Name"].startswith("conf-"):
                    empty(owner, entry["Name"])
