"""ECR with true images: moto's repositories are the single store behind the ECR API and the OCI distribution API.

As AWS documents (ECR API reference): an image's digest is the sha256 of its manifest's bytes, imageSizeInBytes sums its
config and layers, an existing tag of an IMMUTABLE repository cannot move to another digest
(ImageTagAlreadyExistsException; by docker push: 400 TAG_INVALID), putting the same manifest under the same tag is
ImageAlreadyExistsException, a manifest's layers must be there (LayersNotFoundException) as must an index's images
(ReferencedImagesNotFoundException), authorization tokens last 12 hours, another account may do what the repository's policy
allows it, and blobs are mounted once PutAccountSetting has set BLOB_MOUNTING to ENABLED.

Different from AWS: repositoryUri is `127.0.0.1:PORT/<account>.<region>/<name>`, for there is one host for all accounts. Of a
policy's conditions nothing is looked at, and a role named in it stands for its account.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, cast

import moto.ecr.urls
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ecr.exceptions import (
    ImageAlreadyExistsException,
    InvalidParameterException,
    RepositoryNotFoundException,
)
from moto.ecr.models import ECRBackend, Image, ecr_backends
from moto.ecr.responses import ECRResponse

from orchestrator.sandbox.clock import timestamp
from orchestrator.sandbox.runtime import Password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.sandbox.runtime import Runtime

_TOKEN_LIFETIME_S = 12 * 3600


class ImageTagAlreadyExistsException(ServiceException):  # moto is untyped here; AWS's own name
    code = "ImageTagAlreadyExistsException"


class LayersNotFoundException(ServiceException):
    code = "LayersNotFoundException"


class ReferencedImagesNotFoundException(ServiceException):
    code = "ReferencedImagesNotFoundException"


class ImageDigestDoesNotMatchException(ServiceException):
    code = "ImageDigestDoesNotMatchException"


class AccessDeniedException(ServiceException):
    code = "AccessDeniedException"


class SandboxImage(Image):
    """One manifest. `parsed` is its JSON; size and artifact type are read from it."""

    def __init__(
        self, account_id: str, manifest: str, repository: str, media_type: str, pushed_at: float
    ) -> None:
        super().__init__(account_id, "", manifest, repository, media_type, digest_of(manifest))
        self.image_tags.clear()
        self.parsed: dict[str, Any] = json.loads(manifest)
        self.image_pushed_at = int(pushed_at)

    @property
    def is_index(self) -> bool:
        return "manifests" in self.parsed

    @property
    def artifact_media_type(self) -> str | None:
        config = self.parsed.get("config", {})
        media_type: str | None = self.parsed.get("artifactType") or config.get("mediaType")
        return media_type

    def get_image_size_in_bytes(self) -> int | None:
        if self.is_index:
            return None
        parts = [self.parsed.get("config", {}), *self.parsed.get("layers", [])]
        return sum(int(part.get("size", 0)) for part in parts)


class SandboxEcrBackend(ECRBackend):
    """ECR of one account and region. `mounts_blobs` is the account setting BLOB_MOUNTING."""

    runtime: ClassVar[Runtime]
    mounts_blobs = False

    @property
    def _url_module(self) -> Any:
        return moto.ecr.urls

    def create_repository(self, repository_name: str, *arguments: Any, **named: Any) -> Any:
        repository = super().create_repository(repository_name, *arguments, **named)
        place = f"{repository.registry_id}.{self.region_name}"
        repository.uri = f"{self.runtime.registry_host}/{place}/{repository.name}"
        return repository

    def put_image(
        self,
        repository_name: str,
        image_manifest: str,
        image_tag: str | None,
        image_manifest_mediatype: str | None = None,
        digest: str | None = None,
    ) -> Any:
        """PutImage: as the API answers, also for what is there already."""
        repository = self._get_repository(repository_name)
        actual = digest_of(image_manifest)
        if digest is not None and digest != actual:
            raise ImageDigestDoesNotMatchException(
                f"The digest of the manifest is '{actual}', not '{digest}'"
            )
        known = find_image(repository, actual)
        if known is not None and (image_tag is None or image_tag in known.image_tags):
            raise ImageAlreadyExistsException(
                registry_id=repository.registry_id,
                image_tag=image_tag or "null",
                digest=actual,
                repository_name=repository_name,
            )
        return self.store(repository, image_manifest, image_tag, image_manifest_mediatype)

    def store(self, repository: Any, manifest: str, tag: str | None, media_type: str | None) -> SandboxImage:
        """Keeps a manifest and points `tag` at it. Raises the ECR exceptions named in the module's docstring."""
        parsed = _parse(manifest)
        media_type = media_type or parsed.get("mediaType")
        if not media_type:
            raise InvalidParameterException("image manifest mediatype not provided in manifest or parameter")
        _require_parts(repository, parsed)
        image: SandboxImage | None = find_image(repository, digest_of(manifest))
        holder = find_image(repository, tag) if tag is not None else None
        if holder is not None and holder is not image:
            _require_mutable(repository, tag)
            holder.image_tags.remove(tag)
        if image is None:
            pushed_at = self.runtime.clock.now()
            image = SandboxImage(self.account_id, manifest, repository.name, media_type, pushed_at)
            repository.images.append(image)
        if tag is not None:
            image.update_tag(tag)
        return image

    def describe_images(
        self,
        repository_name: str,
        registry_id: str | None = None,
        image_ids: list[dict[str, str]] | None = None,
    ) -> list[Any]:
        repository = self._readable(repository_name, registry_id, "DescribeImages")
        if not image_ids:
            return list(repository.images)
        found = [repository._get_image(i.get("imageTag"), i.get("imageDigest")) for i in image_ids]  # noqa: SLF001
        return list(dict.fromkeys(found))

    def batch_get_image(
        self,
        repository_name: str,
        registry_id: str | None = None,
        image_ids: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        repository = self._readable(repository_name, registry_id, "BatchGetImage")
        images, failures = [], []
        for image_id in image_ids or []:
            image = _match(repository, image_id)
            if image is None:
                failures.append(_failure(image_id, "ImageNotFound", "Requested image not found"))
            else:
                images.append(_with_tag(image, repository, image_id.get("imageTag")))
        return {"images": images, "failures": failures}

    def _readable(self, name: str, registry_id: str | None, operation: str) -> Any:
        """A repository of this account, or of another one in the same region that lets this account read it."""
        if registry_id in (None, self.account_id):
            return self._get_repository(name)
        found = find_repository(str(registry_id), self.region_name, name)
        if found is None:
            raise RepositoryNotFoundException(name, str(registry_id))
        require_access(found[1], self.account_id, operation)
        return found[1]

    def batch_delete_image(
        self,
        repository_name: str,
        registry_id: str | None = None,
        image_ids: list[dict[str, str]] | None = None,
    ) -> dict[str, Any]:
        """Deletes a tag; the image itself goes with its last tag, or when it is named by digest."""
        repository = self._get_repository(repository_name, registry_id)
        deleted: list[dict[str, str]] = []
        failures = []
        for image_id in image_ids or []:
            image = _match(repository, image_id)
            if image is None:
                failures.append(_failure(image_id, "ImageNotFound", "Requested image not found"))
                continue
            digest, tag = image.image_digest, image_id.get("imageTag")
            gone = [tag] if tag and "imageDigest" not in image_id else list(image.image_tags)
            for name in gone:
                image.remove_tag(name)
            if not image.image_tags:
                repository.images.remove(image)
            deleted.extend({"imageDigest": digest, "imageTag": name} for name in gone)
            if not gone:
                deleted.append({"imageDigest": digest})
        return {"imageIds": deleted, "failures": failures}

    def complete_layer_upload(
        self, repository_name: str, upload_id: str, layer_digests: list[str], registry_id: str | None = None
    ) -> dict[str, Any]:
        repository = self._get_repository(repository_name, registry_id)
        upload = repository.uploads.get(upload_id)
        if upload is not None:
            blob = self.runtime.blobs.start_upload()
            self.runtime.blobs.append(blob, [bytes(upload.layer_parts)])
            self.runtime.blobs.finish(blob, None)
        answer: dict[str, Any] = super().complete_layer_upload(
            repository_name, upload_id, layer_digests, registry_id
        )
        return answer


_PLACE = re.compile(r"^\d{12}\.[a-z0-9-]+/")


class SandboxEcrResponse(ECRResponse):
    """The ECR API, where moto's answer is not ECR's."""

    def _get_param(self, param_name: str, if_none: Any = None) -> Any:
        """Repository names as clients read them from a repositoryUri: here the URI's path carries account and region first."""
        value = super()._get_param(param_name, if_none)
        return _PLACE.sub("", value) if param_name == "repositoryName" and isinstance(value, str) else value

    def get_authorization_token(self) -> ActionResult:
        runtime = SandboxEcrBackend.runtime
        password = secrets.token_urlsafe(96)
        expires_at = runtime.clock.now() + _TOKEN_LIFETIME_S
        runtime.passwords[password] = Password(self.current_account, expires_at)
        token = base64.b64encode(f"AWS:{password}".encode()).decode()
        data = {
            "authorizationToken": token,
            "expiresAt": timestamp(expires_at),
            "proxyEndpoint": runtime.endpoint_url,
        }
        registries = self._get_param("registryIds") or [self.current_account]
        return ActionResult({"authorizationData": [data for _ in registries]})

    def put_account_setting(self) -> ActionResult:
        name, value = self._get_param("name"), self._get_param("value")
        if name != "BLOB_MOUNTING" or value not in {"ENABLED", "DISABLED"}:
            raise InvalidParameterException(f"Invalid account setting '{name}' or value '{value}'")
        cast("SandboxEcrBackend", self.ecr_backend).mounts_blobs = value == "ENABLED"
        return ActionResult({"name": name, "value": value})

    def describe_images(self) -> ActionResult:
        images = self.ecr_backend.describe_images(
            self._get_param("repositoryName"), self._get_param("registryId"), self._get_param("imageIds")
        )
        wanted = self._get_param("filter", {}).get("tagStatus", "ANY")
        fitting = [i for i in images if wanted == "ANY" or bool(i.image_tags) == (wanted == "TAGGED")]
        return ActionResult({"imageDetails": [_details(image) for image in fitting]})


def install(runtime: Runtime) -> None:
    """Puts these classes in the place of moto's; before the first request."""
    SandboxEcrBackend.runtime = runtime
    ecr_backends.backend = SandboxEcrBackend
    moto.ecr.urls.url_paths = {"{0}/$": SandboxEcrResponse.dispatch}


def digest_of(manifest: str) -> str:
    return f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"


def find_repository(account_id: str, region: str, name: str) -> tuple[SandboxEcrBackend, Any] | None:
    """The repository and the backend it lives in, or None."""
    if account_id not in ecr_backends or region not in ecr_backends[account_id]:
        return None
    backend = cast("SandboxEcrBackend", ecr_backends[account_id][region])
    repository = backend.repositories.get(name)
    return None if repository is None else (backend, repository)


def require_access(repository: Any, caller: str, operation: str) -> None:
    """Raises AccessDeniedException unless the repository is the caller's own, or its policy lets the caller's account do it.

    Source: https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html
    """
    # The one action that AWS names otherwise than the operation: API_ListImageReferrers.
    action = "ecr:BatchGetImage" if operation == "ListImageReferrers" else f"ecr:{operation}"
    if caller == repository.registry_id:
        return
    statements = json.loads(repository.policy)["Statement"] if repository.policy else []
    listed = [statements] if isinstance(statements, dict) else statements
    effects = {one["Effect"] for one in listed if _names(one, caller) and _covers(one, action)}
    if effects != {"Allow"}:
        raise AccessDeniedException(
            f"User: arn:aws:iam::{caller}:root is not authorized to perform: {action} on resource: {repository.arn} because"
            f" no resource-based policy allows the {action} action"
        )


def _names(statement: dict[str, Any], account_id: str) -> bool:
    principal = statement.get("Principal", {})
    named = principal.get("AWS", []) if isinstance(principal, dict) else principal
    texts = [named] if isinstance(named, str) else named
    return any(text in ("*", account_id) or f"::{account_id}:" in text for text in texts)


def _covers(statement: dict[str, Any], action: str) -> bool:
    actions = statement.get("Action", [])
    patterns = [actions] if isinstance(actions, str) else actions
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


def find_image(repository: Any, reference: str | None) -> Any:
    """The image with this digest or tag, or None."""
    return next(
        (i for i in repository.images if reference == i.image_digest or reference in i.image_tags), None
    )


def _parse(manifest: str) -> dict[str, Any]:
    try:
        parsed = json.loads(manifest)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidParameterException(
            "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
        )
    return parsed


def _require_parts(repository: Any, parsed: dict[str, Any]) -> None:
    missing = [digest for digest in blob_digests(parsed) if digest not in repository.layers]
    if missing:
        raise LayersNotFoundException(
            f"Layers with digests '[{', '.join(missing)}]' required for pushing image into repository with name"
            f" '{repository.name}' in the registry with id '{repository.registry_id}' do not exist"
        )
    children = [child["digest"] for child in parsed.get("manifests", [])]
    absent = [digest for digest in children if find_image(repository, digest) is None]
    if absent:
        raise ReferencedImagesNotFoundException(
            f"Images with digests '[{', '.join(absent)}]' required for pushing image into repository with name"
            f" '{repository.name}' in the registry with id '{repository.registry_id}' do not exist"
        )


def blob_digests(parsed: dict[str, Any]) -> Iterator[str]:
    """The digests of the config and the layers that a manifest needs."""
    for part in [parsed.get("config"), *parsed.get("layers", [])]:
        # A layer with `urls` lies elsewhere by design (foreign layers of Windows images).
        if part and not part.get("urls"):
            yield part["digest"]


def _require_mutable(repository: Any, tag: str | None) -> None:
    if repository.is_tag_immutable():
        raise ImageTagAlreadyExistsException(
            f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be overwritten"
            " because the tag is immutable."
        )


def _match(repository: Any, image_id: dict[str, Any]) -> Any:
    digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
    image = find_image(repository, digest or tag)
    if image is None or (tag is not None and tag not in image.image_tags):
        return None
    return image


def _with_tag(image: Any, repository: Any, tag: str | None) -> dict[str, Any]:
    return {
        "registryId": repository.registry_id,
        "repositoryName": repository.name,
        "imageId": {"imageDigest": image.image_digest, "imageTag": tag},
        "imageManifest": image.image_manifest,
        "imageManifestMediaType": image.image_manifest_media_type,
    }


def _details(image: Any) -> dict[str, Any]:
    details = {
        "registryId": image.registry_id,
        "repositoryName": image.repository_name,
        "imageDigest": image.image_digest,
        "imageSizeInBytes": image.get_image_size_in_bytes(),
        "imagePushedAt": image.image_pushed_at,
        "imageManifestMediaType": image.image_manifest_media_type,
        "artifactMediaType": image.artifact_media_type,
        "imageTags": list(image.image_tags) or None,
    }
    return {name: value for name, value in details.items() if value is not None}


def _failure(image_id: dict[str, Any], code: str, reason: str) -> dict[str, Any]:
    return {"imageId": image_id, "failureCode": code, "failureReason": reason}
