"""One repository of a registry by the OCI distribution API.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
Hides the login and its renewal, redirects (ECR sends a layer's reader on to S3, which must not see the password), proxies, TLS,
and what is worth another try. Nothing is held in memory but manifests; a blob passes in pieces. Touches: the network.

Why not python-dxf: it neither resumes nor tries again, knows no ranges, no referrers, and guesses a manifest's type. urllib3 comes
with botocore anyway. What ECR does differently, and is allowed for here:

* PATCH answers 201, not 202, and the Range it answers may be stale: https://github.com/aws/containers-roadmap/issues/2831
* the state of an upload cannot be asked for (404): https://github.com/dotnet/sdk/pull/33019
* every PATCH but the last must bring 5 MiB or more: https://github.com/dotnet/sdk-container-builds/pull/279

so that a blob goes up in one PATCH, as docker and skopeo send it, and begins anew where the registry does not say how far it came.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from orchestrator.aws import ca_bundle
from orchestrator.errors import ImageError
from orchestrator.image import manifests
from orchestrator.image.attempts import Patience, RegistryError, TransientError
from orchestrator.image.engine import Login, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import urllib3

    from orchestrator.image.manifests import Manifest

CHUNK_BYTES = 512 * 1024
_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0
_CONNECTIONS = 8
_MAX_REDIRECTS = 5
_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EXPIRED = "token has expired"


@dataclass(frozen=True)
class Upload:
    """An upload that was begun: where it goes on, and how many bytes the registry has of it."""

    location: str
    offset: int = 0


@dataclass
class _Credentials:
    """The login of one registry, asked for on first use, and anew when it has run out. Shared by threads."""

    log_in: Callable[[], Login] | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    header: str = ""

    def current(self) -> str:
        with self.lock:
            if not self.header and self.log_in is not None:
                self.header = _basic(self.log_in())
            return self.header

    def renew(self, refused: str) -> None:
        """Forgets a login that was refused, unless another thread has renewed it."""
        with self.lock:
            if self.header == refused:
                self.header = ""


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


class Repository:
    """A repository at `url` (host/name, no scheme). `log_in` gives a login whenever one is needed; None: there is none.

    Safe to use from several threads. Every call raises RegistryError when the registry refuses, and ImageError when it cannot
    be reached; those that say so raise TransientError instead of trying again themselves.
    """

    def __init__(
        self,
        url: str,
        *,
        log_in: Callable[[], Login] | None,
        environ: Mapping[str, str],
        user_agent: str,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.url = url
        self.host, _, self.name = url.partition("/")
        self._environ = environ
        self._base = f"{'http' if is_loopback(self.host) else 'https'}://{self.host}/v2/{self.name}"
        self._user_agent = user_agent
        self._credentials = _Credentials(log_in)
        self._sleep = sleep
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()

    def patience(self) -> Patience:
        return Patience(self._sleep)

    # --- manifests

    def check_login(self) -> None:
        """Asks once whether the registry is there and takes the login (end-1 of the specification)."""
        self._status("GET", f"{self._base.partition('/v2/')[0]}/v2/", {200})

    def manifest(self, reference: str) -> Manifest | None:
        """The manifest under a digest or a tag, or None. One under a digest has that digest, or ImageError is raised."""
        accept = ", ".join(manifests.MEDIA_TYPES)
        content, kind = self._get(f"{self._base}/manifests/{reference}", {"Accept": accept})
        if content is None:
            return None
        found = manifests.read(content, kind)
        if manifests.DIGEST.fullmatch(reference) and found.digest != reference:
            raise ImageError(
                f"{self.url} sent a manifest with digest {found.digest} where {reference} was asked for"
            )
        return found

    def put_manifest(self, manifest: Manifest, tag: str | None = None) -> None:
        """Puts the manifest's bytes, under a tag or under its digest alone; to put what is there already changes nothing."""
        url = f"{self._base}/manifests/{tag or manifest.digest}"
        headers = {"Content-Type": manifest.media_type}
        self._patiently(
            lambda: self._done("PUT", url, {200, 201, 202}, body=manifest.content, headers=headers)
        )

    def referrers(self, digest: str) -> tuple[str, ...] | None:
        """The digests of the manifests whose subject is this one; None when the registry does not know the question."""
        found: list[str] = []
        url = f"{self._base}/referrers/{digest}"
        seen: set[str] = set()
        while url and url not in seen:
            seen.add(url)
            page = url
            answer = self._patiently(lambda page=page: self._page(page))  # type: ignore[misc]
            if answer is None:
                return None
            listed, url = answer
            found += listed
        return tuple(dict.fromkeys(found))

    def _page(self, url: str) -> tuple[list[str], str] | None:
        with self._open("GET", url) as response:
            if response.status in {404, 405}:
                body = response.read(_MAX_ERROR_BYTES)
                if _code(body) == "NAME_UNKNOWN":
                    raise self._refusal("GET", url, response.status, body)
                return None
            self._require(response, "GET", url, {200})
            try:
                listed = json.loads(self._read(response, url))["manifests"]
                digests = [str(item["digest"]) for item in listed]
            except (ValueError, KeyError, TypeError):
                # A registry that answers every question with a page of its own has no referrers API.
                return None
            following = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', response.headers.get("Link", ""))
            return [one for one in digests if manifests.DIGEST.fullmatch(one)], (
                urljoin(url, following[1]) if following else ""
            )

    # --- blobs

    def has_blob(self, digest: str) -> bool:
        url = f"{self._base}/blobs/{digest}"
        # A registry that would send a reader on has the blob; the place that it names is signed for reading alone.
        status: int = self._patiently(lambda: self._status("HEAD", url, {200, 404, *_REDIRECTS}))
        return status != HTTPStatus.NOT_FOUND

    @contextmanager
    def blob(self, digest: str, first: int) -> Iterator[Iterator[bytes]]:
        """The bytes of a blob from `first` on, in pieces. Raises TransientError, also while it is read."""
        url = f"{self._base}/blobs/{digest}"
        headers = {"Range": f"bytes={first}-"} if first else {}
        with self._open("GET", url, headers=headers) as response:
            self._require(response, "GET", url, {200, 206})
            # A registry may send the whole blob whatever it is asked for.
            extra = first if response.status == HTTPStatus.OK else 0
            yield _without(extra, self._pieces(response, url))

    def start_upload(self) -> Upload:
        """Begins an upload. Raises TransientError."""
        url = f"{self._base}/blobs/uploads/"
        headers = self._done("POST", url, {201, 202})
        return Upload(urljoin(url, _location(headers, url)))

    def mount(self, digest: str, name: str) -> Upload | None:
        """Takes over a blob from another repository of the same registry: None when that was done, else an upload begun.

        ECR mounts where the account setting BLOB_MOUNTING is on and both repositories are encrypted alike:
        https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
        """
        url = f"{self._base}/blobs/uploads/?mount={digest}&from={name}"

        def ask() -> Upload | None:
            with self._open("POST", url) as response:
                self._require(response, "POST", url, {201, 202})
                if response.status == HTTPStatus.CREATED:
                    return None
                return Upload(urljoin(url, _location(response.headers, url)))

        begun: Upload | None = self._patiently(ask)
        return begun

    def send(self, upload: Upload, size: int, pieces: Iterable[bytes]) -> Upload:
        """Sends the rest of a blob of that size, from the upload's offset on. Raises TransientError."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size - upload.offset),
            "Content-Range": f"{upload.offset}-{size - 1}",
        }
        answered = self._done("PATCH", upload.location, {201, 202, 204}, body=pieces, headers=headers)
        location = answered.get("Location", "")
        return Upload(urljoin(upload.location, location) if location else upload.location, size)

    def progress(self, upload: Upload) -> Upload | None:
        """How far the registry says that an upload came; None where it does not say. Raises TransientError."""
        with self._open("GET", upload.location) as response:
            held = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("Range", ""))
            if response.status != HTTPStatus.NO_CONTENT or held is None:
                return None
            location = response.headers.get("Location", "")
            # `0-0` is said of an upload that has one byte, and of one that has none.
            offset = int(held[1]) + 1 if held[1] != "0" else 0
            return Upload(urljoin(upload.location, location) if location else upload.location, offset)

    def finish(self, upload: Upload, digest: str) -> None:
        """Ends an upload; the registry checks the digest. Raises TransientError."""
        joint = "&" if urlsplit(upload.location).query else "?"
        self._done("PUT", f"{upload.location}{joint}digest={digest}", {201, 204})

    # --- requests

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        patience = self.patience()
        while True:
            try:
                return ask()
            except TransientError as error:
                patience.wait(error)

    def _get(self, url: str, headers: Mapping[str, str]) -> tuple[bytes | None, str]:
        def ask() -> tuple[bytes | None, str]:
            with self._open("GET", url, headers=headers) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    body = response.read(_MAX_ERROR_BYTES)
                    if _code(body) == "NAME_UNKNOWN":
                        raise self._refusal("GET", url, response.status, body)
                    return None, ""
                self._require(response, "GET", url, {200})
                return self._read(response, url), response.headers.get("Content-Type", "")

        answer: tuple[bytes | None, str] = self._patiently(ask)
        return answer

    def _done(
        self,
        method: str,
        url: str,
        fine: set[int],
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, str]:
        with self._open(method, url, body=body, headers=headers or {}) as response:
            self._require(response, method, url, fine)
            response.drain_conn()
            return response.headers

    def _status(self, method: str, url: str, fine: set[int]) -> int:
        with self._open(method, url) as response:
            self._require(response, method, url, fine)
            return int(response.status)

    def _read(self, response: urllib3.BaseHTTPResponse, url: str) -> bytes:
        content = b"".join(_until(_MAX_MANIFEST_BYTES + 1, self._pieces(response, url)))
        if len(content) > _MAX_MANIFEST_BYTES:
            raise ImageError(f"{_shown(url)} is larger than a manifest may be (4 MiB)")
        return content

    def _pieces(self, response: urllib3.BaseHTTPResponse, url: str) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            yield from response.stream(CHUNK_BYTES, decode_content=False)
        except (HTTPError, OSError) as error:
            raise TransientError(f"GET {_shown(url)} broke off: {_reason(error)}") from error

    @contextmanager
    def _open(
        self,
        method: str,
        url: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        response = self._ask(method, url, body, headers or {})
        whole = False
        try:
            yield response
            whole = True
        finally:
            # What was not read to its end would be the next answer on the same connection.
            if not whole or response.length_remaining:
                response.close()
            response.release_conn()

    def _ask(
        self, method: str, url: str, body: bytes | Iterable[bytes] | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """One request, with the login renewed once when it has run out, and redirects followed."""
        renewed = False
        for _ in range(_MAX_REDIRECTS + 2):
            login = self._credentials.current() if urlsplit(url).netloc == self.host else ""
            response = self._send(method, url, body, headers, login)
            if response.status in _REDIRECTS and method == "GET":
                url = urljoin(url, response.headers.get("Location", ""))
                response.drain_conn()
                continue
            if not login or not self._is_expired(response, method, url):
                return response
            self._credentials.renew(login)
            if renewed:
                raise RegistryError(
                    f"{self.host} refuses the login that ecr:GetAuthorizationToken gave",
                    repository=self.url,
                    status=int(response.status),
                )
            renewed = True
            if body is not None and not isinstance(body, bytes):
                raise TransientError(f"the login to {self.host} ran out")
        raise ImageError(f"{method} {_shown(url)} is redirected without an end")

    def _send(
        self,
        method: str,
        url: str,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
        login: str,
    ) -> urllib3.BaseHTTPResponse:
        from urllib3.exceptions import HTTPError, SSLError

        given = {"User-Agent": self._user_agent, **headers}
        if login:
            given["Authorization"] = login
        if body is None and method in {"POST", "PUT"}:
            given["Content-Length"] = "0"
        try:
            response = self._pool(url).request(
                method,
                url,
                body=body,
                headers=given,
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except (HTTPError, OSError) as error:
            if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ImageError(
                    f"the certificate of {urlsplit(url).netloc} cannot be verified: {_reason(error)}",
                    hint="behind a proxy that opens TLS, name its certificate in AWS_CA_BUNDLE",
                ) from error
            raise TransientError(f"{method} {_shown(url)} failed: {_reason(error)}") from error
        if response.status in _TRANSIENT:
            said = _said(response.read(_MAX_ERROR_BYTES))
            response.close()
            after = response.headers.get("Retry-After", "")
            raise TransientError(
                f"{method} {_shown(url)} failed: HTTP {response.status}{said}",
                after_s=float(after) if after.isdecimal() else 0.0,
            )
        return response

    def _is_expired(self, response: urllib3.BaseHTTPResponse, method: str, url: str) -> bool:
        """Whether the login was refused. ECR says 403 to a password that is older than 12 hours, as to what is not allowed."""
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.drain_conn()
            return True
        if response.status != HTTPStatus.FORBIDDEN:
            return False
        body = response.read(_MAX_ERROR_BYTES)
        response.close()
        if _EXPIRED.encode() in body:
            return True
        raise self._refusal(method, url, int(response.status), body)

    def _require(self, response: urllib3.BaseHTTPResponse, method: str, url: str, fine: set[int]) -> None:
        if response.status not in fine:
            raise self._refusal(method, url, int(response.status), response.read(_MAX_ERROR_BYTES))

    def _refusal(self, method: str, url: str, status: int, body: bytes) -> RegistryError:
        return RegistryError(
            f"{method} {_shown(url)} was refused: HTTP {status}{_said(body)}",
            repository=self.url,
            status=status,
            code=_code(body),
        )

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        proxy = "" if is_loopback(urlsplit(url).netloc) else _proxy_of(url, self._environ)
        with self._lock:
            if proxy not in self._pools:
                options: dict[str, Any] = {
                    "maxsize": _CONNECTIONS,
                    "retries": False,
                    "timeout": urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S),
                    "ca_certs": ca_bundle(self._environ),
                }
                self._pools[proxy] = (
                    urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
                )
            return self._pools[proxy]


def _proxy_of(url: str, environ: Mapping[str, str]) -> str:
    """The proxy that the environment names for a URL, or "": `https_proxy`, and the hosts of `no_proxy` with all below them."""
    parts = urlsplit(url)
    host, name = (parts.hostname or "").lower(), f"{parts.scheme}_proxy"
    for entry in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").lower().split(","):
        excepted = entry.strip().lstrip(".")
        if excepted == "*" or (excepted and f".{host}".endswith(f".{excepted}")):
            return ""
    return environ.get(name) or environ.get(name.upper()) or ""


def _without(count: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if count >= len(piece):
            count -= len(piece)
            continue
        yield piece[count:] if count else piece
        count = 0


def _until(limit: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        limit -= len(piece)
        if limit <= 0:
            return


def _location(headers: Mapping[str, str], url: str) -> str:
    location = headers.get("Location", "")
    if not location:
        raise ImageError(f"POST {_shown(url)} began no upload: its answer has no Location")
    return location


def _errors(body: bytes) -> list[dict[str, Any]]:
    try:
        listed = json.loads(body)["errors"]
    except (ValueError, KeyError, TypeError):
        return []
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _code(body: bytes) -> str:
    return next((str(item.get("code", "")) for item in _errors(body)), "")


def _said(body: bytes) -> str:
    texts = [f"{item.get('code', '')}: {item.get('message', '')}".strip(": ") for item in _errors(body)]
    return f": {'; '.join(texts)}" if texts else ""


def _shown(url: str) -> str:
    """A URL without its query: that of S3 is a permission to read."""
    return url.partition("?")[0]


def _reason(error: Exception) -> str:
    return re.sub(r"<[^>]*>\s*:?\s*", "", str(error)) or type(error).__name__
