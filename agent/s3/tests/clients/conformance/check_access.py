"""Who may do what, and what nobody can."""

import hashlib

from conformance.requests import Answer, Signer, connect, signed
from conformance.service import KEYS2, bucket, check, client, data, refused, s3, same, true


@check
def a_bucket_belongs_to_who_made_it():
    if not KEYS2[0]:
        return
    name, other = bucket(), client(KEYS2)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    refused("BucketAlreadyExists", 409, other.create_bucket, Bucket=name)
    refused("403", 403, other.head_bucket, Bucket=name)
    refused("403", 403, other.head_object, Bucket=name, Key="k")
    for call, more in (
        (other.get_object, {"Key": "k"}),
        (other.put_object, {"Key": "k", "Body": b"y"}),
        (other.delete_object, {"Key": "k"}),
        (other.delete_objects, {"Delete": {"Objects": [{"Key": "k"}]}}),
        (other.list_objects_v2, {}),
        (other.list_objects, {}),
        (other.create_multipart_upload, {"Key": "k"}),
        (other.list_multipart_uploads, {}),
        (other.delete_bucket, {}),
        (other.get_bucket_location, {}),
    ):
        refused("AccessDenied", 403, call, Bucket=name, **more)
    same(s3.get_object(Bucket=name, Key="k")["Body"].read(), b"x", "object")
    true(name not in [b["Name"] for b in other.list_buckets()["Buckets"]], "it is listed to others")


@check
def nobody_copies_from_the_bucket_of_another():
    if not KEYS2[0]:
        return
    other = client(KEYS2)
    name, theirs = bucket(), bucket(other)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    source = {"Bucket": name, "Key": "k"}
    refused("AccessDenied", 403, other.copy_object, Bucket=theirs, Key="k", CopySource=source)
    upload = other.create_multipart_upload(Bucket=theirs, Key="k")["UploadId"]
    refused(
        "AccessDenied", 403, other.upload_part_copy, Bucket=theirs, Key="k", UploadId=upload,
        PartNumber=1, CopySource=source,
    )


@check
def an_expected_owner_must_be_the_owner():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    owner = s3.list_buckets()["Owner"]["ID"]
    s3.get_object(Bucket=name, Key="k", ExpectedBucketOwner=owner)
    refused("AccessDenied", 403, s3.get_object, Bucket=name, Key="k", ExpectedBucketOwner="000000000000")


@check
def what_is_not_there_is_said_to_be_so():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    for call, more in (
        (s3.get_bucket_policy, {}),
        (s3.get_bucket_acl, {}),
        (s3.get_bucket_cors, {}),
        (s3.list_object_versions, {}),
        (s3.get_bucket_lifecycle_configuration, {}),
        (s3.put_object_tagging, {"Key": "k", "Tagging": {"TagSet": []}}),
        (s3.put_object, {"Key": "k", "Body": b"", "ServerSideEncryption": "AES256"}),
        (s3.put_object, {"Key": "k", "Body": b"", "Tagging": "a=b"}),
    ):
        error = refused("NotImplemented", 501, call, Bucket=name, **more)
        true(error["Error"]["Message"], "no message")
    acl = {"Key": "k", "Body": b"", "ACL": "public-read"}
    refused("AccessControlListNotSupported", 400, s3.put_object, Bucket=name, **acl)
    cold = {"Key": "k", "Body": b"", "StorageClass": "GLACIER"}
    refused("InvalidStorageClass", 400, s3.put_object, Bucket=name, **cold)
    same(s3.get_object(Bucket=name, Key="k")["Body"].read(), b"x", "object")


@check
def what_says_nothing_new_is_taken():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x", ACL="private", StorageClass="STANDARD")
    same(s3.get_object_tagging(Bucket=name, Key="k")["TagSet"], [], "tags")
    same(s3.get_object(Bucket=name, Key="k", VersionId="null")["Body"].read(), b"x", "null version")
    refused("InvalidArgument", 400, s3.get_object, Bucket=name, Key="k", VersionId="x")
    refused("NoSuchVersion", 404, s3.get_object, Bucket=name, Key="k", VersionId="0" * 16)


@check
def an_answer_to_head_has_no_body():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"12345")
    answer = signed("HEAD", f"/{name}/k").expect(200)
    same((answer.body, answer.headers["content-length"]), (b"", "5"), "HEAD")
    same(signed("HEAD", f"/{name}/gone").status, 404, "status")


@check
def a_connection_serves_many_requests():
    name, link = bucket(), connect()
    for number in range(20):
        path, body = f"/{name}/k{number % 3}", data(1000 * number)
        headers = Signer().headers("PUT", path, hashlib.sha256(body).hexdigest())
        link.request("PUT", path, body, headers)
        same(Answer(link.getresponse()).status, 200, "status")
        headers = Signer().headers("GET", path, hashlib.sha256(b"").hexdigest())
        link.request("GET", path, headers=headers)
        same(Answer(link.getresponse()).body, body, "object")
    link.close()
