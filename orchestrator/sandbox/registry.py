"""The OCI distribution API (v2) over ECR's repositories: what docker, podman, buildah and skopeo push to and pull from.

Follows the OCI distribution specification 1.1: pull, push (monolithic, chunked, streamed), cross-repository mount, tags,
referrers, its error format. As ECR does: Basic authentication with a password from GetAuthorizationToken, NAME_UNKNOWN for
a repository that CreateRepository has not made, 403 DENIED for one of another account whose policy does not allow it, 400
TAG_INVALID for moving a tag of an IMMUTABLE repository, mounting only where the account setting BLOB_MOUNTING is on and a
manifest has the blob, and no deleting (405 UNSUPPORTED: BatchDeleteImage is the way).
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from moto.core.exceptions import ServiceException
from werkzeug.http import parse_range_header
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from orchestrator.sandbox import calls, ecr
from orchestrator.sandbox.blobs import DigestMismatchError, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.sandbox.runtime import Runtime

_CHUNK_BYTES = 256 * 1024
_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLACE = re.compile(r"(?P<account>\d{12})\.(?P<region>[a-z0-9-]+)/(?P<name>[a-z0-9][a-z0-9._/-]*)")
_PLACE_KEY = "orch.sandbox.place"  # `<account>.<region>/<name>` of the request, for Location headers
_ROUTES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/v2/(?P<place>.+)/blobs/uploads/?"), "uploads"),
    (re.compile(r"/v2/(?P<place>.+)/blobs/uploads/(?P<reference>[^/]+)"), "upload"),
    (re.compile(r"/v2/(?P<place>.+)/blobs/(?P<reference>[^/]+)"), "blob"),
    (re.compile(r"/v2/(?P<place>.+)/manifests/(?P<reference>[^/]+)"), "manifest"),
    (re.compile(r"/v2/(?P<place>.+)/tags/list"), "tags"),
    (re.compile(r"/v2/(?P<place>.+)/referrers/(?P<reference>[^/]+)"), "referrers"),
)
# ECR exceptions as the distribution API says them.
_ERROR_CODES = {
    "ImageTagAlreadyExistsException": "TAG_INVALID",
    "LayersNotFoundException": "MANIFEST_BLOB_UNKNOWN",
    "ReferencedImagesNotFoundException": "MANIFEST_BLOB_UNKNOWN",
}


class RegistryError(Exception):
    """A refusal in the distribution API's own terms."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        body = {"errors": [{"code": self.code, "message": self.message}]}
        return Response(json.dumps(body), status=self.status, content_type="application/json")


class Registry:
    """Answers every request below `/v2/`. `before_change` runs under the lock before an image becomes visible."""

    def __init__(self, runtime: Runtime, *, before_change: Callable[[], None]) -> None:
        self._runtime = runtime
        self._before_change = before_change

    def handle(self, request: Request) -> Response:
        try:
            caller = self._require_login(request)
            response = self._route(request, caller)
        except RegistryError as error:
            response = error.response()
            if error.status == HTTPStatus.UNAUTHORIZED:
                realm = f"{self._runtime.endpoint_url}/"
                response.headers["WWW-Authenticate"] = f'Basic realm="{realm}",service="ecr.amazonaws.com"'
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        return response

    def _require_login(self, request: Request) -> str:
        """The account that the password was given to."""
        given = request.authorization
        if given is None or given.type != "basic":
            raise RegistryError(
                HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "Not Authorized: no basic auth credentials"
            )
        known = self._runtime.passwords.get(given.password or "") if given.username == "AWS" else None
        if known is None or known.expires_at <= self._runtime.clock.now():
            said = "Your authorization token has expired. Reauthenticate and try again."
            raise RegistryError(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", said if known else "Not Authorized")
        return known.account_id

    def _route(self, request: Request, caller: str) -> Response:
        if request.path in ("/v2", "/v2/"):
            return Response("{}", content_type="application/json")
        for pattern, kind in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match:
                method = "get" if request.method == "HEAD" else request.method.lower()
                action = getattr(self, f"_{method}_{kind}", None)
                if action is None:
                    break
                backend, repository = self._find(match["place"])
                operation = calls.read_registry(request.method, request.path).operation
                try:
                    ecr.require_access(repository, caller, operation)
                except ServiceException as error:
                    raise RegistryError(HTTPStatus.FORBIDDEN, "DENIED", error.message) from error
                request.environ[_PLACE_KEY] = match["place"]
                answer: Response = action(request, backend, repository, match.groupdict().get("reference"))
                return answer
        raise RegistryError(
            HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", f"{request.method} {request.path} is not supported"
        )

    def _find(self, place: str) -> tuple[ecr.SandboxEcrBackend, Any]:
        match = _PLACE.fullmatch(place)
        with self._runtime.lock:
            found = match and ecr.find_repository(match["account"], match["region"], match["name"])
        if not match or not found:
            name, registry = (match["name"], match["account"]) if match else (place, "")
            raise RegistryError(
                HTTPStatus.NOT_FOUND,
                "NAME_UNKNOWN",
                f"The repository with name '{name}' does not exist in the registry with id '{registry}'",
            )
        return found

    # --- blobs

    def _get_blob(self, request: Request, _backend: Any, repository: Any, digest: str) -> Response:
        size = repository.layers.get(digest)
        if size is None:
            raise RegistryError(
                HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", f"blob {digest} is unknown to the repository"
            )
        response = _send_file(request, self._runtime.blobs.path(digest), size)
        response.headers["Docker-Content-Digest"] = digest
        return response

    def _post_uploads(
        self, request: Request, backend: Any, repository: Any, _reference: str | None
    ) -> Response:
        mounted = request.args.get("mount")
        if mounted and self._can_mount(backend, mounted, request.args.get("from")):
            with self._runtime.lock:
                repository.layers[mounted] = self._runtime.blobs.path(mounted).stat().st_size
            return self._created(request, mounted)
        upload = self._runtime.blobs.start_upload()
        digest = request.args.get("digest")
        if digest:
            return self._finish(request, repository, upload, digest)
        return self._accepted(request, upload, HTTPStatus.ACCEPTED)

    def _can_mount(self, backend: ecr.SandboxEcrBackend, digest: str, place: str | None) -> bool:
        if not place or not _DIGEST.fullmatch(digest) or not backend.mounts_blobs:
            return False
        try:
            registry, source = self._find(place)
        except RegistryError:
            return False
        with self._runtime.lock:
            return registry is backend and any(
                digest in ecr.blob_digests(image.parsed) for image in source.images
            )

    def _get_upload(self, request: Request, _backend: Any, _repository: Any, upload_id: str) -> Response:
        upload = self._upload(upload_id)
        upload.take_turn()
        return self._accepted(request, upload, HTTPStatus.NO_CONTENT)

    def _patch_upload(self, request: Request, _backend: Any, _repository: Any, upload_id: str) -> Response:
        upload = self._upload(upload_id)
        self._receive(request, upload)
        return self._accepted(request, upload, HTTPStatus.ACCEPTED)

    def _put_upload(self, request: Request, _backend: Any, repository: Any, upload_id: str) -> Response:
        digest = request.args.get("digest", "")
        return self._finish(request, repository, self._upload(upload_id), digest)

    def _delete_upload(self, _request: Request, _backend: Any, _repository: Any, upload_id: str) -> Response:
        self._runtime.blobs.discard(self._upload(upload_id))
        return Response(status=HTTPStatus.NO_CONTENT)

    def _upload(self, upload_id: str) -> Upload:
        upload = self._runtime.blobs.find_upload(upload_id)
        if upload is None:
            raise RegistryError(HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", f"upload {upload_id} is unknown")
        return upload

    def _receive(self, request: Request, upload: Upload) -> None:
        stated = re.fullmatch(r"(?:bytes[= ])?(\d+)-(\d+)", request.headers.get("Content-Range", ""))
        if stated and int(stated[1]) != upload.size:
            raise RegistryError(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                f"the next byte is {upload.size}, not {stated[1]}",
            )
        self._runtime.blobs.append(upload, iter(lambda: request.stream.read(_CHUNK_BYTES), b""))

    def _finish(self, request: Request, repository: Any, upload: Upload, digest: str) -> Response:
        self._receive(request, upload)
        if not _DIGEST.fullmatch(digest):
            self._runtime.blobs.discard(upload)
            raise RegistryError(
                HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"{digest!r} is not a sha256 digest"
            )
        try:
            self._runtime.blobs.finish(upload, digest)
        except DigestMismatchError as error:
            raise RegistryError(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", str(error)) from error
        with self._runtime.lock:
            repository.layers[digest] = upload.size
        return self._created(request, digest)

    def _accepted(self, request: Request, upload: Upload, status: HTTPStatus) -> Response:
        return Response(
            status=status,
            headers={
                "Location": f"{_base(request)}/blobs/uploads/{upload.upload_id}",
                "Docker-Upload-UUID": upload.upload_id,
                "Range": f"0-{max(upload.size - 1, 0)}",
            },
        )

    def _created(self, request: Request, digest: str) -> Response:
        location = f"{_base(request)}/blobs/{digest}"
        return Response(
            status=HTTPStatus.CREATED, headers={"Location": location, "Docker-Content-Digest": digest}
        )

    # --- manifests

    def _get_manifest(self, request: Request, _backend: Any, repository: Any, reference: str) -> Response:
        with self._runtime.lock:
            image = ecr.find_image(repository, reference)
        if image is None:
            raise RegistryError(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", "Requested image not found")
        body = image.image_manifest.encode()
        response = Response(
            b"" if request.method == "HEAD" else body,
            content_type=image.image_manifest_media_type,
            headers={"Docker-Content-Digest": image.image_digest},
        )
        response.headers["Content-Length"] = str(len(body))
        return response

    def _put_manifest(self, request: Request, backend: Any, repository: Any, reference: str) -> Response:
        body = request.stream.read(_MAX_MANIFEST_BYTES + 1)
        if len(body) > _MAX_MANIFEST_BYTES:
            raise RegistryError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "manifests may have 4 MiB"
            )
        try:
            manifest = body.decode()
        except UnicodeDecodeError as error:
            raise RegistryError(
                HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", "the manifest is not UTF-8"
            ) from error
        digest = ecr.digest_of(manifest)
        by_digest = _DIGEST.fullmatch(reference) is not None
        if by_digest and reference != digest:
            raise RegistryError(
                HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"the manifest has digest {digest}, not {reference}"
            )
        with self._runtime.lock:
            self._before_change()
            self._store(backend, repository, manifest, None if by_digest else reference, request.mimetype)
            subject = ecr.find_image(repository, digest).parsed.get("subject")
        response = self._created(request, digest)
        response.headers["Location"] = f"{_base(request)}/manifests/{digest}"
        if subject:
            response.headers["OCI-Subject"] = subject["digest"]
        return response

    def _store(self, backend: Any, repository: Any, manifest: str, tag: str | None, media_type: str) -> None:
        try:
            backend.store(repository, manifest, tag, media_type or None)
        except ServiceException as error:
            code = _ERROR_CODES.get(error.code, "MANIFEST_INVALID")
            raise RegistryError(HTTPStatus.BAD_REQUEST, code, error.message) from error

    def _get_tags(self, request: Request, _backend: Any, repository: Any, _reference: str | None) -> Response:
        with self._runtime.lock:
            tags = sorted(tag for image in repository.images for tag in image.image_tags)
        last = request.args.get("last", "")
        tags = [tag for tag in tags if tag > last]
        count = request.args.get("n", type=int)
        place = _place(request)
        response = Response(
            json.dumps({"name": place, "tags": tags if count is None else tags[:count]}),
            content_type="application/json",
        )
        if count and len(tags) > count:
            response.headers["Link"] = f'</v2/{place}/tags/list?n={count}&last={tags[count - 1]}>; rel="next"'
        return response

    def _get_referrers(self, request: Request, _backend: Any, repository: Any, digest: str) -> Response:
        wanted = request.args.get("artifactType")
        with self._runtime.lock:
            images = [i for i in repository.images if i.parsed.get("subject", {}).get("digest") == digest]
        listed = [_descriptor(image) for image in images if not wanted or image.artifact_media_type == wanted]
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": listed,
        }
        response = Response(json.dumps(index), content_type="application/vnd.oci.image.index.v1+json")
        if wanted:
            response.headers["OCI-Filters-Applied"] = "artifactType"
        return response


def _place(request: Request) -> str:
    place: str = request.environ[_PLACE_KEY]
    return place


def _base(request: Request) -> str:
    """The repository's URL as the client wrote it, which may have come by another host, as through a proxy."""
    return f"{request.host_url}v2/{_place(request)}"


def _descriptor(image: Any) -> dict[str, Any]:
    descriptor = {
        "mediaType": image.image_manifest_media_type,
        "digest": image.image_digest,
        "size": len(image.image_manifest.encode()),
        "artifactType": image.artifact_media_type,
        "annotations": image.parsed.get("annotations"),
    }
    return {name: value for name, value in descriptor.items() if value is not None}


def _send_file(request: Request, path: Path, size: int) -> Response:
    first, end, status = 0, size, HTTPStatus.OK
    wanted = parse_range_header(request.headers.get("Range"))
    span = wanted.range_for_length(size) if wanted else None
    if span is not None:
        (first, end), status = span, HTTPStatus.PARTIAL_CONTENT
    headers = {"Content-Length": str(end - first), "Accept-Ranges": "bytes"}
    if status is HTTPStatus.PARTIAL_CONTENT:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    response = Response(status=status, content_type="application/octet-stream", headers=headers)
    if request.method != "HEAD":
        file = path.open("rb")
        file.seek(first)
        # The wrapper closes the file when the response ends, however it ends.
        response.response = FileWrapper(file, _CHUNK_BYTES) if end == size else _read(file, end - first)
        response.direct_passthrough = True
    return response


def _read(file: Any, count: int) -> Iterator[bytes]:
    with file:
        while count > 0 and (chunk := file.read(min(count, _CHUNK_BYTES))):
            count -= len(chunk)
            yield chunk
