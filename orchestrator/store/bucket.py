"""The state bucket itself: made and brought to its settings, and when an object of it was last written.

Hides S3's settings of a bucket. Touches: S3, that bucket alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator import permissions
from orchestrator.aws import translated
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.store.plans import KEPT_DAYS as PLANS_KEPT_DAYS
from orchestrator.store.plans import PREFIX as PLANS

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

_OLD_VERSIONS_KEPT_DAYS = 90
_OWN_SIDS = ("DenyInsecureTransport", "DenyOldTls", "DenyDeletion")
_MISSING = frozenset({"404", "NoSuchBucket", "NotFound"})
_NO_OBJECT = frozenset({"404", "NoSuchKey", "NotFound"})


def has_bucket(s3: S3Client, bucket: str, *, account_id: str) -> bool:
    """Whether the state bucket exists and belongs to that account. Raises PreconditionError when it is another's."""
    try:
        # HeadBucket asks for this permission: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
        with translated("s3:ListBucket"):
            s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account_id)
    except AwsError as error:
        if error.code in _MISSING:
            return False
        if error.code in {"403", "AccessDenied"}:
            raise PreconditionError(
                f"the state bucket {bucket} is not open to these credentials, or belongs to another account than {account_id}",
                hint="check the credentials, or choose another `state_bucket` in orch.toml",
            ) from error
        raise
    return True


def create_bucket(s3: S3Client, bucket: str, *, region: str, account_id: str) -> bool:
    """Creates the state bucket, or brings an existing one to the same settings; says whether it was created.

    Versioned, encrypted, no public access, no ACLs, TLS only, never deleted, old versions expire. Statements of the bucket's
    policy that are not orch's own stay. Every call may be repeated.
    """
    created = not has_bucket(s3, bucket, account_id=account_id)
    if created:
        _create(s3, bucket, region)
    owner: Any = {"Bucket": bucket, "ExpectedBucketOwner": account_id}
    with translated("s3:PutBucketOwnershipControls"):
        s3.put_bucket_ownership_controls(
            **owner, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        )
    with translated("s3:PutBucketPublicAccessBlock"):
        s3.put_public_access_block(
            **owner,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
    with translated("s3:PutBucketVersioning"):
        s3.put_bucket_versioning(**owner, VersioningConfiguration={"Status": "Enabled"})
    with translated("s3:PutEncryptionConfiguration"):
        s3.put_bucket_encryption(
            **owner,
            ServerSideEncryptionConfiguration={
                "Rules": [
                    {
                        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"},
                        "BucketKeyEnabled": True,
                    }
                ]
            },
        )
    policy = _bucket_policy(bucket, region, _foreign_statements(s3, owner))
    with translated("s3:PutBucketPolicy"):
        s3.put_bucket_policy(**owner, Policy=json.dumps(policy))
    with translated("s3:PutLifecycleConfiguration"):
        s3.put_bucket_lifecycle_configuration(**owner, LifecycleConfiguration=_lifecycle())
    return created


def last_modified(s3: S3Client, bucket: str, key: str, *, account_id: str) -> datetime | None:
    """When an object, such as the state, was last written; None when it is not there or S3 does not tell these credentials."""
    try:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html: GetObject is the permission it asks for.
        with translated("s3:GetObject"):
            return s3.head_object(Bucket=bucket, Key=key, ExpectedBucketOwner=account_id)["LastModified"]
    except AwsError as error:
        if error.code in _NO_OBJECT | _MISSING | {"403", "AccessDenied"}:
            return None
        raise


def _create(s3: S3Client, bucket: str, region: str) -> None:
    request: Any = {"Bucket": bucket, "ObjectOwnership": "BucketOwnerEnforced"}
    if region != "us-east-1":
        # us-east-1 is the default and must not be named.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
        request["CreateBucketConfiguration"] = {"LocationConstraint": region}
    with translated("s3:CreateBucket"):
        s3.create_bucket(**request)
        s3.get_waiter("bucket_exists").wait(Bucket=bucket)


def _foreign_statements(s3: S3Client, owner: Any) -> list[dict[str, Any]]:
    """The statements of the bucket's policy that are not orch's."""
    try:
        with translated("s3:GetBucketPolicy"):
            text = s3.get_bucket_policy(**owner)["Policy"]
    except AwsError as error:
        if error.code == "NoSuchBucketPolicy":
            return []
        raise
    statements = json.loads(text)["Statement"]
    listed = statements if isinstance(statements, list) else [statements]
    return [statement for statement in listed if statement.get("Sid") not in _OWN_SIDS]


def _bucket_policy(bucket: str, region: str, foreign: list[dict[str, Any]]) -> dict[str, Any]:
    partition = permissions.partition_of(region)
    here = f"arn:{partition}:s3:::{bucket}"

    def deny(sid: str, action: object, resource: object, **rest: object) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": action,
            "Resource": resource,
            **rest,
        }

    everything = [here, f"{here}/*"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            *foreign,
            deny(_OWN_SIDS[0], "s3:*", everything, Condition={"Bool": {"aws:SecureTransport": "false"}}),
            deny(_OWN_SIDS[1], "s3:*", everything, Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
            # Whoever really wants to must take this statement away first. Lifecycle rules are not held up by it.
            deny(_OWN_SIDS[2], ["s3:DeleteBucket", "s3:DeleteObjectVersion"], everything),
        ],
    }


def _lifecycle() -> Any:
    return {
        "Rules": [
            {
                "ID": "expire-old-versions",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "NoncurrentVersionExpiration": {"NoncurrentDays": _OLD_VERSIONS_KEPT_DAYS},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
            },
            {
                "ID": "expire-sealed-plans",
                "Status": "Enabled",
                "Filter": {"Prefix": PLANS},
                "Expiration": {"Days": PLANS_KEPT_DAYS},
            },
        ]
    }
