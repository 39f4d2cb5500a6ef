"""Buckets."""

from conformance.service import REGION, bucket, check, refused, s3, same, true


@check
def a_bucket_is_made_found_and_deleted():
    name = bucket()
    s3.head_bucket(Bucket=name)
    true(name in [b["Name"] for b in s3.list_buckets()["Buckets"]], "the bucket is not listed")
    s3.delete_bucket(Bucket=name)
    refused("404", 404, s3.head_bucket, Bucket=name)


@check
def making_a_bucket_again_says_that_one_owns_it():
    refused("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket=bucket())


@check
def a_bucket_that_holds_something_cannot_be_deleted():
    name = bucket()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=name)


@check
def bucket_names_that_break_the_rules_are_refused():
    for name in ("ab", "Upper", "under_score", "-start", "end-", "two..dots", "10.0.0.1", "a" * 64):
        refused("InvalidBucketName", 400, s3.create_bucket, Bucket=name)


@check
def a_bucket_that_is_not_there_is_told_so_by_every_operation():
    for call, more in (
        (s3.put_object, {"Key": "k", "Body": b""}),
        (s3.get_object, {"Key": "k"}),
        (s3.list_objects_v2, {}),
        (s3.list_objects, {}),
        (s3.delete_object, {"Key": "k"}),
        (s3.delete_bucket, {}),
        (s3.get_bucket_location, {}),
        (s3.create_multipart_upload, {"Key": "k"}),
        (s3.list_multipart_uploads, {}),
    ):
        refused("NoSuchBucket", 404, call, Bucket="conf-not-there", **more)


@check
def a_bucket_tells_its_region():
    name = bucket()
    expected = None if REGION == "us-east-1" else REGION
    same(s3.get_bucket_location(Bucket=name)["LocationConstraint"], expected, "location")
    headers = s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"]
    same(headers.get("x-amz-bucket-region"), REGION, "x-amz-bucket-region")


@check
def a_bucket_of_another_region_is_refused():
    refused(
        "InvalidLocationConstraint", 400, s3.create_bucket, Bucket="conf-elsewhere",
        CreateBucketConfiguration={"LocationConstraint": "mars-north-1"},
    )


@check
def buckets_are_listed_by_prefix_and_page():
    names = sorted(bucket() for _ in range(4))
    found, token = [], None
    while True:
        more = {"ContinuationToken": token} if token else {}
        page = s3.list_buckets(Prefix="conf-", MaxBuckets=2, **more)
        true(len(page["Buckets"]) <= 2, "a page is too long")
        found += [entry["Name"] for entry in page["Buckets"]]
        token = page.get("ContinuationToken")
        if not token:
            break
    same([name for name in found if name in names], names, "buckets")
    same(found, sorted(set(found)), "order")
    same(s3.list_buckets(Prefix="no-such-prefix")["Buckets"], [], "buckets of no prefix")


@check
def versioning_was_never_switched_on():
    true("Status" not in s3.get_bucket_versioning(Bucket=bucket()), "versioning has a status")
