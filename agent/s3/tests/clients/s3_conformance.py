#!/usr/bin/env python3
"""Checks a running S3 service with boto3, and by hand-made requests where boto3 would not ask.

    S3_ENDPOINT=http://127.0.0.1:9000 S3_ACCESS_KEY=… S3_SECRET_KEY=… s3_conformance.py [PATTERN]

Optional: S3_ACCESS_KEY2 and S3_SECRET_KEY2, a second user, for the checks of who may do what;
S3_REGION, the service's region (us-east-1); S3_DOMAIN, a domain the service knows, for
virtual-host style; S3_CA, a file with the certificate to trust, or "none" to trust any.
With PATTERN only the checks whose name contains it are run.

Every check works in buckets of its own, whose names start with "conf-", and empties them. The last
line is "N passed, N failed"; the exit status is 1 if any failed.
"""

import os
import sys
import traceback

sys.dont_write_bytecode = True  # The checks may run from a read-only or a watched tree.

from conformance import (  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
    check_buckets,
    check_objects,
    check_checksums,
    check_copies,
    check_listings,
    check_uploads,
    check_deletes,
    check_signatures,
    check_access,
)
from conformance.service import CHECKS, clean_up  # noqa: E402 pylint: disable=wrong-import-position


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [function for function in CHECKS if pattern in function.__name__]
    clean_up()
    failed = 0
    for function in chosen:
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok      {name}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            here = os.path.dirname(os.path.abspath(__file__))
            frames = [f for f in traceback.extract_tb(error.__traceback__) if here in f.filename]
            where = " ".join(f"{os.path.basename(f.filename)}:{f.lineno}" for f in frames[1:])
            print(f"FAILED  {name}: {where}: {type(error).__name__}: {error}", flush=True)
    clean_up()
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
