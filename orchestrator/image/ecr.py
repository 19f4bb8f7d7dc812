"""What ECR knows about an image, its manifests, and its registry login.

Touches: ecr:DescribeImages, ecr:GetAuthorizationToken, ecr:BatchGetImage, ecr:PutImage.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.aws import translated
from orchestrator.errors import AwsError, ImageError
from orchestrator.image import manifests
from orchestrator.image.engine import Login
from orchestrator.model import Image

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef

    from orchestrator.image.manifests import Manifest

_REFERENCE = re.compile(r"^(?P<repository>[^@\s]+/[^@\s:]+)@(?P<digest>sha256:[0-9a-f]{64})$")
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html, and its dual-stack names (`dkr-ecr`, `on.aws`)
_HOST = re.compile(r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+")
# The sandbox has one host for all accounts (sandbox/ecr.py).
_SANDBOX = re.compile(r"[^/]+/(?P<account>\d{12})\.(?P<region>[a-z0-9-]+)/(?P<name>.+)")


@dataclass(frozen=True)
class Place:
    """Where a repository is: together the first two are one registry."""

    account_id: str
    region: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} in account {self.account_id}, {self.region}"


def place_of(repository_url: str) -> Place | None:
    """The account, region and name that a repository's URL says, or None when it is none of ECR's."""
    host, _, name = repository_url.partition("/")
    match = _HOST.fullmatch(host)
    if match:
        return Place(match["account"], match["region"], name)
    match = _SANDBOX.fullmatch(repository_url)
    return Place(match["account"], match["region"], match["name"]) if match else None


def parse_reference(text: str) -> Image:
    """`REPOSITORY@sha256:…` → Image. Raises ImageError for anything else: tags can move, digests cannot."""
    match = _REFERENCE.match(text)
    if match is None:
        raise ImageError(
            f"`{text}` does not name an image by its digest",
            hint="write REPOSITORY@sha256: and 64 hexadecimal digits",
        )
    return Image(match["repository"], match["digest"])


def digest_of_tag(ecr: ECRClient, repository_url: str, tag: str) -> str | None:
    """The digest that ECR has under a tag, or None. Raises AwsError, e.g. when the repository does not exist."""
    return _describe(ecr, repository_url, {"imageTag": tag})


def has_digest(ecr: ECRClient, repository_url: str, digest: str) -> bool:
    """Whether ECR holds an image with that digest."""
    return _describe(ecr, repository_url, {"imageDigest": digest}) is not None


def get_manifest(ecr: ECRClient, repository_url: str, reference: str) -> Manifest | None:
    """The manifest under a digest or a tag, byte for byte, or None. Raises AwsError, and ImageError for other bytes than asked for.

    Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html
    """
    is_digest = manifests.DIGEST.fullmatch(reference) is not None
    image: ImageIdentifierTypeDef = {"imageDigest": reference} if is_digest else {"imageTag": reference}
    with translated("ecr:BatchGetImage"):
        answer = ecr.batch_get_image(
            repositoryName=_name(repository_url),
            imageIds=[image],
            acceptedMediaTypes=list(manifests.MEDIA_TYPES),
        )
    if not answer["images"]:
        failures = answer["failures"]
        code = str(failures[0].get("failureCode", "")) if failures else "ImageNotFound"
        if code == "ImageNotFound":
            return None
        raise ImageError(f"ECR does not give {repository_url} {reference}: {code}")
    found = answer["images"][0]
    manifest = manifests.read(found["imageManifest"].encode(), found.get("imageManifestMediaType", ""))
    if is_digest and manifest.digest != reference:
        raise ImageError(f"ECR gave other bytes than {repository_url}@{reference} has: {manifest.digest}")
    return manifest


def put_manifest(ecr: ECRClient, repository_url: str, manifest: Manifest, tag: str | None = None) -> None:
    """Puts the same bytes into a repository that has their blobs, under a tag if one is given. Raises AwsError.

    Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
    """
    tagged = {} if tag is None else {"imageTag": tag}
    try:
        with translated("ecr:PutImage"):
            ecr.put_image(
                repositoryName=_name(repository_url),
                imageManifest=manifest.text,
                imageManifestMediaType=manifest.media_type,
                imageDigest=manifest.digest,
                **tagged,
            )
    except AwsError as error:
        if error.code != "ImageAlreadyExistsException":
            raise


def log_in(ecr: ECRClient, repository_url: str) -> Login:
    """Credentials for a repository's registry, valid for 12 hours.

    Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
    """
    return replace(log_in_here(ecr), registry=repository_url.split("/", 1)[0])


def log_in_here(ecr: ECRClient) -> Login:
    """The same for the registry of the credentials' own account, whose address ECR tells (`proxyEndpoint`). Raises AwsError.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_AuthorizationData.html
    """
    with translated("ecr:GetAuthorizationToken"):
        data = ecr.get_authorization_token()["authorizationData"][0]
    username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return Login(urlsplit(data.get("proxyEndpoint", "")).netloc, username, password)


def _describe(ecr: ECRClient, repository_url: str, image: ImageIdentifierTypeDef) -> str | None:
    try:
        with translated("ecr:DescribeImages"):
            answer = ecr.describe_images(repositoryName=_name(repository_url), imageIds=[image])
    except AwsError as error:
        if error.code == "ImageNotFoundException":
            return None
        raise
    details = answer["imageDetails"]
    return details[0]["imageDigest"] if details else None


def _name(repository_url: str) -> str:
    return repository_url.split("/", 1)[1]
