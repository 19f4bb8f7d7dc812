"""Sealed plans in the state bucket: opaque here, one an environment and commit, a later one in place of it.

Hides key names; an old one goes by a lifecycle rule of the bucket. Touches: S3, `orch/plans/` in that bucket alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.aws import translated
from orchestrator.errors import AwsError, BundleError

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

PREFIX = "orch/plans/"
# Far longer than a sealed plan can be applied, and short for something that holds secrets, though encrypted.
KEPT_DAYS = 30
_TOLD = 5
_NO_OBJECT = frozenset({"404", "NoSuchKey", "NotFound"})


def put_plan(
    s3: S3Client, bucket: str, content: bytes, *, environment: str, commit: str, account_id: str
) -> str:
    """Stores a sealed plan and returns its key. Whoever may list the bucket sees environment and commit."""
    key = plan_key(environment, commit)
    with translated("s3:PutObject"):
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=content,
            ContentType="application/octet-stream",
            Metadata={"orch-environment": environment, "orch-commit": commit},
            ExpectedBucketOwner=account_id,
        )
    return key


def get_plan(s3: S3Client, bucket: str, *, environment: str, commit: str, account_id: str) -> bytes:
    """The sealed plan of a commit, given in full. Raises BundleError when there is none."""
    try:
        with translated("s3:GetObject"):
            answer = s3.get_object(
                Bucket=bucket, Key=plan_key(environment, commit), ExpectedBucketOwner=account_id
            )
            return answer["Body"].read()
    except AwsError as error:
        if error.code in _NO_OBJECT:
            raise _no_plan(
                environment, commit, plans(s3, bucket, environment=environment, account_id=account_id)
            ) from error
        raise


def plans(s3: S3Client, bucket: str, *, environment: str, account_id: str, commit: str = "") -> list[str]:
    """The commits of an environment's sealed plans that begin like that, the newest plan first. Raises AwsError."""
    start = f"{PREFIX}{environment}/"
    found: list[tuple[datetime, str]] = []
    with translated("s3:ListBucket"):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=start + commit, ExpectedBucketOwner=account_id
        )
        for page in pages:
            found += [(item["LastModified"], item["Key"]) for item in page.get("Contents", ())]
    return [key.removeprefix(start).removesuffix(".bundle") for _at, key in sorted(found, reverse=True)]


def find_plan(s3: S3Client, bucket: str, *, environment: str, commit: str, account_id: str) -> str:
    """The full commit of the one sealed plan whose commit begins like that. Raises BundleError when there is none or several."""
    if not re.fullmatch(r"[0-9a-f]{4,64}", commit):
        raise BundleError(
            f"{commit!r} is no commit",
            hint="give its hexadecimal digits, at least four: `git rev-parse HEAD`",
        )
    found = plans(s3, bucket, environment=environment, commit=commit, account_id=account_id)
    if not found:
        raise _no_plan(environment, commit, plans(s3, bucket, environment=environment, account_id=account_id))
    if len(found) > 1:
        raise BundleError(
            f"{len(found)} sealed plans for environment `{environment}` are of commits that begin with {commit}",
            hint="give more digits of the commit",
            details=tuple(found[:_TOLD]),
        )
    return found[0]


def plan_key(environment: str, commit: str) -> str:
    """`orch/plans/ENV/COMMIT.bundle`."""
    return f"{PREFIX}{environment}/{commit}.bundle"


def _no_plan(environment: str, commit: str, others: list[str]) -> BundleError:
    return BundleError(
        f"there is no sealed plan of commit {commit[:12]} for environment `{environment}`",
        hint=f"make it from that commit: `orch plan --env {environment} --seal`",
        details=tuple(f"there is one of {other}" for other in others[:_TOLD]),
    )
