"""Listings."""

from conformance.requests import signed
from conformance.service import bucket, check, refused, s3, same, true


TREE = ["a", "a/", "a/1", "a/2", "a/b/3", "a0", "b/4", "b/5/6", "c", "é/7"]


def tree():
    name = bucket()
    for key in TREE:
        s3.put_object(Bucket=name, Key=key, Body=b"xy")
    return name


def listed(page):
    return (
        [entry["Key"] for entry in page.get("Contents", [])],
        [entry["Prefix"] for entry in page.get("CommonPrefixes", [])],
    )


@check
def a_listing_tells_of_each_object():
    name = bucket()
    tag = s3.put_object(Bucket=name, Key="k", Body=b"12345")["ETag"]
    head = s3.head_object(Bucket=name, Key="k")
    for call in (s3.list_objects_v2, s3.list_objects):
        entry = call(Bucket=name)["Contents"][0]
        found = (entry["Key"], entry["ETag"], entry["Size"], entry["StorageClass"])
        same(found, ("k", tag, 5, "STANDARD"), "entry")
        same(entry["LastModified"], head["LastModified"], "time")
    true("Owner" in s3.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"][0], "no owner")
    true("Owner" not in s3.list_objects_v2(Bucket=name)["Contents"][0], "an owner unasked")


@check
def prefixes_and_delimiters_make_folders():
    name = tree()
    for prefix, delimiter, keys, prefixes in (
        ("", "", TREE, []),
        ("", "/", ["a", "a0", "c"], ["a/", "b/", "é/"]),
        ("a", "/", ["a", "a0"], ["a/"]),
        ("a/", "/", ["a/", "a/1", "a/2"], ["a/b/"]),
        ("a/", "", ["a/", "a/1", "a/2", "a/b/3"], []),
        ("b", "/", [], ["b/"]),
        ("x", "/", [], []),
        ("", "/b", ["a", "a/", "a/1", "a/2", "a0", "b/4", "b/5/6", "c", "é/7"], ["a/b"]),
    ):
        for call in (s3.list_objects_v2, s3.list_objects):
            page = call(Bucket=name, Prefix=prefix, Delimiter=delimiter)
            same(listed(page), (keys, prefixes), f"listing of {prefix!r}, {delimiter!r}")
            same(page["IsTruncated"], False, "truncated")


@check
def pages_of_version_2_make_up_the_whole():
    name = tree()
    for delimiter, expected in (("", (TREE, [])), ("/", (["a", "a0", "c"], ["a/", "b/", "é/"]))):
        for size in (1, 2, 3, 5):
            keys, prefixes, token = [], [], None
            while True:
                more = {"ContinuationToken": token} if token else {}
                page = s3.list_objects_v2(Bucket=name, Delimiter=delimiter, MaxKeys=size, **more)
                got = listed(page)
                same(page["KeyCount"], len(got[0]) + len(got[1]), "count")
                true(page["KeyCount"] <= size, "prefixes are not counted")
                keys, prefixes, token = keys + got[0], prefixes + got[1], page.get("NextContinuationToken")
                same(page["IsTruncated"], token is not None, "truncated")
                if not token:
                    break
            same((keys, prefixes), expected, f"pages of {size}")


@check
def pages_of_version_1_make_up_the_whole():
    name = tree()
    for delimiter, expected in (("", (TREE, [])), ("/", (["a", "a0", "c"], ["a/", "b/", "é/"]))):
        for size in (1, 2, 3, 5):
            keys, prefixes, marker = [], [], ""
            while True:
                page = s3.list_objects(Bucket=name, Delimiter=delimiter, MaxKeys=size, Marker=marker)
                got = listed(page)
                true(len(got[0]) + len(got[1]) <= size, "prefixes are not counted")
                keys, prefixes = keys + got[0], prefixes + got[1]
                if not page["IsTruncated"]:
                    break
                true(("NextMarker" in page) == bool(delimiter), "NextMarker")
                marker = page.get("NextMarker") or got[0][-1]
            same((keys, prefixes), expected, f"pages of {size}")


@check
def a_listing_starts_behind_a_key():
    name = tree()
    for start, expected in (("a/2", ["a/b/3", "a0", "b/4", "b/5/6", "c", "é/7"]), ("c", ["é/7"]), ("é/8", [])):
        same(listed(s3.list_objects_v2(Bucket=name, StartAfter=start))[0], expected, "start-after")
        same(listed(s3.list_objects(Bucket=name, Marker=start))[0], expected, "marker")


@check
def a_token_outranks_a_start():
    name = tree()
    first = s3.list_objects_v2(Bucket=name, MaxKeys=1, StartAfter="a0")
    same(listed(first)[0], ["b/4"], "first page")
    token = first["NextContinuationToken"]
    second = s3.list_objects_v2(Bucket=name, MaxKeys=1, StartAfter="a0", ContinuationToken=token)
    same(listed(second)[0], ["b/5/6"], "second page")


@check
def a_page_has_at_most_a_thousand_keys():
    name = bucket()
    for number in range(1003):
        s3.put_object(Bucket=name, Key=f"k{number:04}", Body=b"")
    page = s3.list_objects_v2(Bucket=name, MaxKeys=5000)
    same((page["KeyCount"], page["IsTruncated"], page["MaxKeys"]), (1000, True, 1000), "page")
    rest = s3.list_objects_v2(Bucket=name, ContinuationToken=page["NextContinuationToken"])
    same(listed(rest)[0], ["k1000", "k1001", "k1002"], "rest")
    same(len(s3.list_objects(Bucket=name)["Contents"]), 1000, "page of version 1")


@check
def odd_page_sizes():
    name = tree()
    for call in (s3.list_objects_v2, s3.list_objects):
        page = call(Bucket=name, MaxKeys=0)
        same((listed(page), page["IsTruncated"]), (([], []), False), "page of none")
        refused("InvalidArgument", 400, call, Bucket=name, MaxKeys=-1)


@check
def a_made_up_token_is_refused():
    refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=bucket(), ContinuationToken="made-up")


@check
def keys_are_encoded_when_asked_and_only_then():
    name = bucket()
    s3.put_object(Bucket=name, Key="a b/ü&", Body=b"")
    encoded = signed("GET", f"/{name}?encoding-type=url&list-type=2").expect(200)
    true(b"<Key>a%20b/%C3%BC%26</Key>" in encoded.body, f"not encoded: {encoded.body}")
    true(b"<EncodingType>url</EncodingType>" in encoded.body, "no EncodingType")
    plain = signed("GET", f"/{name}?list-type=2").expect(200)
    true("<Key>a b/ü&amp;</Key>".encode() in plain.body, f"encoded unasked: {plain.body}")
    signed("GET", f"/{name}?encoding-type=rot13").expect(400, "InvalidArgument")
