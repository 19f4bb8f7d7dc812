"""The `orch/` prefix of the state bucket, and the state bucket itself.

Hides key names and S3. Release records are append-only; their keys count down, so that a listing gives the newest first.
Sealed plans are opaque here: one an environment and commit, a later one in place of it, an old one gone by a lifecycle rule.
Touches: S3, in that bucket alone. Nothing here is ever read to decide a rollout.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import permissions
from orchestrator.aws import translated
from orchestrator.errors import AwsError, BundleError, PreconditionError
from orchestrator.model import Image, Override, Release, ReleaseRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from mypy_boto3_s3 import S3Client

_RELEASES = "orch/releases/"
_KEY_SPAN_MS = 10**14
# The service is missing in keys of an earlier orch.
_RELEASE_KEY = re.compile(
    r"(?P<countdown>\d{14})-(?:(?P<service>[a-z][a-z0-9-]*)-)?(?P<id>\d{8}T\d{6}Z-[0-9a-f]+)\.json"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEYS_A_PAGE = 1000
# Records of an earlier orch that are read only to learn whose they are.
_MOST_READ = 50
_OLD_VERSIONS_KEPT_DAYS = 90
# Far longer than a sealed plan can be applied, and short for something that holds secrets, though encrypted.
_PLANS_KEPT_DAYS = 30
_PLANS = "orch/plans/"
_PLANS_TOLD = 5
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


def put_release(s3: S3Client, bucket: str, release: Release, *, at: datetime) -> str:
    """Writes one release record and returns its key."""
    key = release_key(release.environment, release.service, release.id, at)
    body = json.dumps(dataclasses.asdict(release), sort_keys=True, indent=1)
    with translated("s3:PutObject"):
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=body.encode(),
            ContentType="application/json",
            ExpectedBucketOwner=release.account_id,
        )
    return key


def releases(
    s3: S3Client,
    bucket: str,
    *,
    environment: str,
    account_id: str,
    service: str = "",
    skipped: Callable[[str], None] = lambda _key: None,
) -> Iterator[ReleaseRecord]:
    """The release records of an environment, or of one of its services, the newest first; each is read when it is asked for.

    Costs one listing for 1,000 records of the environment, and one read for each record of the service: its key says whose it is.
    `skipped` gets the key of what is no record that this orch can read. Raises AwsError.
    """
    for key in _release_keys(s3, bucket, environment, account_id):
        match = _RELEASE_KEY.fullmatch(key.rpartition("/")[2])
        if service and match is not None and match["service"] not in {None, service}:
            continue
        record = _read_release(s3, bucket, key, account_id)
        if record is None:
            skipped(key)
        elif not service or record.release.service == service:
            yield record


def last_releases(
    s3: S3Client, bucket: str, *, environment: str, account_id: str, services: Collection[str]
) -> dict[str, ReleaseRecord]:
    """The newest record of each of these services, as far as the environment's newest 1,000 hold it: one listing, and one read
    for each. Raises AwsError.
    """
    found: dict[str, ReleaseRecord] = {}
    reads = 0
    for key in itertools.islice(_release_keys(s3, bucket, environment, account_id), _KEYS_A_PAGE):
        match = _RELEASE_KEY.fullmatch(key.rpartition("/")[2])
        name = match["service"] if match is not None else None
        if name is not None and (name in found or name not in services):
            continue
        if len(found) == len(services) or reads >= _MOST_READ + len(services):
            break
        reads += 1
        record = _read_release(s3, bucket, key, account_id)
        if record is not None and record.release.service in services:
            found.setdefault(record.release.service, record)
    return found


def release_key(environment: str, service: str, release_id: str, at: datetime) -> str:
    """`orch/releases/ENV/COUNTDOWN-SERVICE-ID.json`; a later release sorts before an earlier one."""
    countdown = _KEY_SPAN_MS - int(at.astimezone(UTC).timestamp() * 1000)
    return f"{_RELEASES}{environment}/{countdown:014d}-{service}-{release_id}.json"


def _release_keys(s3: S3Client, bucket: str, environment: str, account_id: str) -> Iterator[str]:
    """The keys of an environment's records as S3 sorts them, which is the newest first; page by page as they are asked for."""
    request: Any = {
        "Bucket": bucket,
        "Prefix": f"{_RELEASES}{environment}/",
        "ExpectedBucketOwner": account_id,
    }
    while True:
        with translated("s3:ListBucket"):
            page = s3.list_objects_v2(**request)
        yield from (item["Key"] for item in page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _read_release(s3: S3Client, bucket: str, key: str, account_id: str) -> ReleaseRecord | None:
    """One record; None when it is none, or gone meanwhile."""
    try:
        with translated("s3:GetObject"):
            answer = s3.get_object(Bucket=bucket, Key=key, ExpectedBucketOwner=account_id)
            content = answer["Body"].read()
    except AwsError as error:
        if error.code in _NO_OBJECT:
            return None
        raise
    match = _RELEASE_KEY.fullmatch(key.rpartition("/")[2])
    written_at = answer["LastModified"].astimezone(UTC)
    began_at = (
        _EPOCH + timedelta(milliseconds=_KEY_SPAN_MS - int(match["countdown"])) if match else written_at
    )
    try:
        return ReleaseRecord(
            began_at.isoformat(timespec="seconds"),
            written_at.isoformat(timespec="seconds"),
            _decoded(content),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _decoded(content: bytes) -> Release:
    """A record's content; what a newer orch has added to it is left out. Raises ValueError, TypeError, KeyError, AttributeError."""
    data = json.loads(content)
    known = {field.name for field in dataclasses.fields(Release)}
    values = {name: value for name, value in data.items() if name in known}
    values["image"] = Image(**data["image"])
    values["verdict"] = Verdict(data["verdict"])
    values["overrides"] = tuple(Override(**item) for item in data.get("overrides", ()))
    return Release(**values)


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
    start = f"{_PLANS}{environment}/"
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
            details=tuple(found[:_PLANS_TOLD]),
        )
    return found[0]


def plan_key(environment: str, commit: str) -> str:
    """`orch/plans/ENV/COMMIT.bundle`."""
    return f"{_PLANS}{environment}/{commit}.bundle"


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


def _no_plan(environment: str, commit: str, others: list[str]) -> BundleError:
    return BundleError(
        f"there is no sealed plan of commit {commit[:12]} for environment `{environment}`",
        hint=f"make it from that commit: `orch plan --env {environment} --seal`",
        details=tuple(f"there is one of {other}" for other in others[:_PLANS_TOLD]),
    )


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
                "Filter": {"Prefix": _PLANS},
                "Expiration": {"Days": _PLANS_KEPT_DAYS},
            },
        ]
    }
