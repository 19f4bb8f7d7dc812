"""The state bucket itself: made and brought to its settings, held against them, and when an object of it was last written.

Hides S3's settings of a bucket. Touches: S3, that bucket alone.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from orchestrator import permissions
from orchestrator.aws import translated
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.store.plans import KEPT_DAYS as PLANS_KEPT_DAYS
from orchestrator.store.plans import PREFIX as PLANS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

_OLD_VERSIONS_KEPT_DAYS = 90
_OWN_SIDS = ("DenyInsecureTransport", "DenyOldTls", "DenyDeletion")
_MISSING = frozenset({"404", "NoSuchBucket", "NotFound"})
_NO_OBJECT = frozenset({"404", "NoSuchKey", "NotFound"})
_OWNERSHIP: Final = "BucketOwnerEnforced"
_BLOCKED = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
# With two layers of encryption, or a key of the owner's, it is no worse.
_ENCRYPTION: Final = "aws:kms"
_ENCRYPTIONS = (_ENCRYPTION, "aws:kms:dsse")
# What S3 answers in place of a setting that nobody made: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_UNSET = frozenset(
    {
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration",
        "OwnershipControlsNotFoundError",
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
    }
)


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
    policy and rules of its lifecycle that are not orch's own stay, and so does a KMS key of the owner's. Every call may be repeated.
    """
    created = not has_bucket(s3, bucket, account_id=account_id)
    if created:
        _create(s3, bucket, region)
    owner: Any = {"Bucket": bucket, "ExpectedBucketOwner": account_id}
    with translated("s3:PutBucketOwnershipControls"):
        s3.put_bucket_ownership_controls(
            **owner, OwnershipControls={"Rules": [{"ObjectOwnership": _OWNERSHIP}]}
        )
    with translated("s3:PutBucketPublicAccessBlock"):
        blocked: Any = dict.fromkeys(_BLOCKED, True)
        s3.put_public_access_block(**owner, PublicAccessBlockConfiguration=blocked)
    with translated("s3:PutBucketVersioning"):
        s3.put_bucket_versioning(**owner, VersioningConfiguration={"Status": "Enabled"})
    if _encryption_problem(s3, owner):
        with translated("s3:PutEncryptionConfiguration"):
            s3.put_bucket_encryption(
                **owner,
                ServerSideEncryptionConfiguration={
                    "Rules": [
                        {
                            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": _ENCRYPTION},
                            "BucketKeyEnabled": True,
                        }
                    ]
                },
            )
    policy = _bucket_policy(bucket, region, _foreign_statements(s3, owner))
    with translated("s3:PutBucketPolicy"):
        s3.put_bucket_policy(**owner, Policy=json.dumps(policy))
    lifecycle: Any = {"Rules": [*_foreign_rules(s3, owner), *_lifecycle()["Rules"]]}
    with translated("s3:PutLifecycleConfiguration"):
        s3.put_bucket_lifecycle_configuration(**owner, LifecycleConfiguration=lifecycle)
    return created


def region_of(s3: S3Client, bucket: str, *, account_id: str) -> str | None:
    """The region that the bucket lies in, "" where S3 does not say; None when there is no such bucket. Raises AwsError."""
    try:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
        with translated("s3:ListBucket"):
            answer = s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account_id)
    except AwsError as error:
        if error.code in _MISSING:
            return None
        raise
    return answer.get("BucketRegion", "")


def is_listed(s3: S3Client, bucket: str) -> bool:
    """Whether the bucket is among those of the credentials' own account. Raises AwsError."""
    with translated("s3:ListAllMyBuckets"):
        return any(item.get("Name") == bucket for item in s3.list_buckets()["Buckets"])


def setting_checks(
    s3: S3Client, bucket: str, *, region: str, account_id: str
) -> Mapping[str, Callable[[], str]]:
    """A check of each setting by its name: it gives what differs from what `create_bucket` makes, in words, "" when nothing does,
    and raises AwsError. Each asks once, and needs a permission of its own.
    """
    owner: Any = {"Bucket": bucket, "ExpectedBucketOwner": account_id}
    return {
        "versioning": partial(_versioning_problem, s3, owner),
        "encryption": partial(_encryption_problem, s3, owner),
        "public access": partial(_public_access_problem, s3, owner),
        "ownership": partial(_ownership_problem, s3, owner),
        "policy": partial(_policy_problem, s3, owner, region),
        "lifecycle": partial(_lifecycle_problem, s3, owner),
    }


def _versioning_problem(s3: S3Client, owner: Any) -> str:
    with translated("s3:GetBucketVersioning"):
        status = s3.get_bucket_versioning(**owner).get("Status", "off")
    return "" if status == "Enabled" else f"versioning is {status}: a state that is overwritten is lost"


def _encryption_problem(s3: S3Client, owner: Any) -> str:
    answer = _setting("s3:GetEncryptionConfiguration", lambda: s3.get_bucket_encryption(**owner))
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    kinds = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for rule in rules]
    if any(kind in _ENCRYPTIONS for kind in kinds):
        return ""
    return f"objects are encrypted by {kinds[0] if kinds else 'nothing that is set'}, not by {_ENCRYPTION}"


def _public_access_problem(s3: S3Client, owner: Any) -> str:
    answer = _setting("s3:GetBucketPublicAccessBlock", lambda: s3.get_public_access_block(**owner))
    blocked = answer.get("PublicAccessBlockConfiguration", {})
    open_ones = [name for name in _BLOCKED if not blocked.get(name)]
    return f"not blocked: {', '.join(open_ones)}" if open_ones else ""


def _ownership_problem(s3: S3Client, owner: Any) -> str:
    answer = _setting("s3:GetBucketOwnershipControls", lambda: s3.get_bucket_ownership_controls(**owner))
    rules = answer.get("OwnershipControls", {}).get("Rules", [])
    if any(rule.get("ObjectOwnership") == _OWNERSHIP for rule in rules):
        return ""
    return f"ACLs count: object ownership is not {_OWNERSHIP}"


def _policy_problem(s3: S3Client, owner: Any, region: str) -> str:
    answer = _setting("s3:GetBucketPolicy", lambda: s3.get_bucket_policy(**owner))
    found = [_plain(one) for one in _statements(answer.get("Policy", '{"Statement": []}'))]
    wanted = _bucket_policy(owner["Bucket"], region, [])["Statement"]
    missing = [str(one["Sid"]) for one in wanted if _plain(one) not in found]
    return f"its policy lacks, or has otherwise: {', '.join(missing)}" if missing else ""


def _lifecycle_problem(s3: S3Client, owner: Any) -> str:
    found = {rule.get("ID"): rule for rule in _rules(s3, owner)}
    missing = [
        str(rule["ID"])
        for rule in _lifecycle()["Rules"]
        if any(found.get(rule["ID"], {}).get(key) != rule[key] for key in rule.keys() - {"Filter"})
    ]
    return f"its lifecycle lacks, or has otherwise: {', '.join(missing)}" if missing else ""


def _rules(s3: S3Client, owner: Any) -> list[dict[str, Any]]:
    """The rules of the bucket's lifecycle."""
    answer = _setting("s3:GetLifecycleConfiguration", lambda: s3.get_bucket_lifecycle_configuration(**owner))
    rules: list[dict[str, Any]] = answer.get("Rules", [])
    return rules


def _foreign_rules(s3: S3Client, owner: Any) -> list[dict[str, Any]]:
    """Those that are not orch's."""
    own = {rule["ID"] for rule in _lifecycle()["Rules"]}
    return [rule for rule in _rules(s3, owner) if rule.get("ID") not in own]


def _setting(action: str, ask: Callable[[], Any]) -> Any:
    """The answer, or an empty one where nobody made that setting. Raises AwsError."""
    try:
        with translated(action):
            return ask()
    except AwsError as error:
        if error.code in _UNSET:
            return {}
        raise


def _plain(value: Any) -> Any:
    """A statement in one form: AWS may answer one text where a list of it was sent, and lists in another order."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != "Sid"}
    if isinstance(value, list):
        return sorted(map(str, value)) if len(value) > 1 else _plain(value[0]) if value else ""
    return str(value)


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
    request: Any = {"Bucket": bucket, "ObjectOwnership": _OWNERSHIP}
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
    return [statement for statement in _statements(text) if statement.get("Sid") not in _OWN_SIDS]


def _statements(policy: str) -> list[dict[str, Any]]:
    statements = json.loads(policy)["Statement"]
    return statements if isinstance(statements, list) else [statements]


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
