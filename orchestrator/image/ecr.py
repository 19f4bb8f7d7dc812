"""What ECR knows about an image, and its registry login. Touches: ecr:DescribeImages, ecr:GetAuthorizationToken."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from orchestrator.aws import translated
from orchestrator.errors import AwsError, ImageError
from orchestrator.image.engine import Login
from orchestrator.model import Image

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef

_REFERENCE = re.compile(r"^(?P<repository>[^@\s]+/[^@\s:]+)@(?P<digest>sha256:[0-9a-f]{64})$")


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


def log_in(ecr: ECRClient, repository_url: str) -> Login:
    """Credentials for a repository's registry, valid for 12 hours.

    Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
    """
    with translated("ecr:GetAuthorizationToken"):
        data = ecr.get_authorization_token()["authorizationData"][0]
    username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return Login(repository_url.split("/", 1)[0], username, password)


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
