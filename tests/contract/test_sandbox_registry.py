"""The OCI distribution API, with raw requests and with the real clients: buildah and skopeo."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in json.loads(self.body)["errors"]]


@dataclass
class Registry:
    """A bare client of one repository, logged in."""

    port: int
    place: str
    password: str

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        password: str | None = None,
    ) -> Answer:
        login = base64.b64encode(f"AWS:{password or self.password}".encode()).decode()
        path = path.removeprefix(f"http://127.0.0.1:{self.port}")
        path = path if path.startswith("/v2") else f"/v2/{self.place}/{path}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {"Authorization": f"Basic {login}", **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def push_blob(self, content: bytes) -> dict[str, Any]:
        answer = self.ask("POST", f"blobs/uploads/?digest={sha256(content)}", content)
        assert answer.status == 201
        return {"mediaType": "application/octet-stream", "digest": sha256(content), "size": len(content)}

    def manifest(self, content: bytes = b"layer", **more: Any) -> bytes:
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {**self.push_blob(b"{}"), "mediaType": "application/vnd.oci.image.config.v1+json"},
            "layers": [self.push_blob(content)],
            **more,
        }
        return json.dumps(document).encode()

    def put(self, reference: str, manifest: bytes, media_type: str = MANIFEST_TYPE) -> Answer:
        return self.ask("PUT", f"manifests/{reference}", manifest, {"Content-Type": media_type})


@pytest.fixture
def registry(cloud: Cloud) -> Registry:
    uri = cloud.make_repository("team/app")
    return Registry(cloud.sandbox.port, uri.split("/", 1)[1], cloud.password())


def test_a_login_is_asked_for_and_checked(registry: Registry, cloud: Cloud) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=10)
    connection.request("GET", "/v2/")
    response = connection.getresponse()
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    connection.close()
    assert registry.ask("GET", "/v2/").status == 200
    wrong = registry.ask("GET", "/v2/", password="wrong")
    assert (wrong.status, wrong.codes) == (401, ["UNAUTHORIZED"])
    cloud.advance(12 * 3600 - 1)
    assert registry.ask("GET", "/v2/").status == 200
    cloud.advance(2)
    expired = registry.ask("GET", "/v2/")
    assert expired.status == 401
    assert b"expired" in expired.body


def test_a_repository_that_nobody_made_is_unknown(registry: Registry, cloud: Cloud) -> None:
    for place in ("111111111111.eu-central-1/other", "222222222222.eu-central-1/team/app", "team/app"):
        answer = registry.ask("POST", f"/v2/{place}/blobs/uploads/")
        assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])
    assert cloud.client("ecr", key="222222222222").describe_repositories()["repositories"] == []


def test_a_chunked_upload_is_put_together(registry: Registry) -> None:
    content = b"0123456789" * 1000
    begun = registry.ask("POST", "blobs/uploads/")
    assert begun.status == 202
    location = begun.headers["Location"]
    first = registry.ask("PATCH", location, content[:4000], {"Content-Range": "0-3999"})
    assert (first.status, first.headers["Range"]) == (202, "0-3999")
    assert registry.ask("GET", location).headers["Range"] == "0-3999"
    out_of_order = registry.ask("PATCH", location, content[5000:], {"Content-Range": "5000-9999"})
    assert (out_of_order.status, out_of_order.codes) == (416, ["BLOB_UPLOAD_INVALID"])
    second = registry.ask("PATCH", location, content[4000:8000], {"Content-Range": "4000-7999"})
    assert second.headers["Range"] == "0-7999"
    done = registry.ask("PUT", f"{location}?digest={sha256(content)}", content[8000:])
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, sha256(content))
    got = registry.ask("GET", f"blobs/{sha256(content)}")
    assert (got.status, got.body) == (200, content)
    head = registry.ask("HEAD", f"blobs/{sha256(content)}")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "10000", b"")


def test_a_streamed_upload_needs_no_length(registry: Registry) -> None:
    parts = [b"a" * 70_000, b"b" * 300_000, b"c"]
    location = registry.ask("POST", "blobs/uploads/").headers["Location"]
    streamed = registry.ask("PATCH", location, iter(parts))
    assert streamed.headers["Range"] == "0-370000"
    digest = sha256(b"".join(parts))
    assert registry.ask("PUT", f"{location}?digest={digest}").status == 201


def test_a_part_of_a_blob_can_be_read(registry: Registry) -> None:
    digest = registry.push_blob(b"0123456789")["digest"]
    part = registry.ask("GET", f"blobs/{digest}", headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")


def test_bytes_that_do_not_fit_the_digest_are_refused(registry: Registry) -> None:
    location = registry.ask("POST", "blobs/uploads/").headers["Location"]
    wrong = registry.ask("PUT", f"{location}?digest={sha256(b'other')}", b"these")
    assert (wrong.status, wrong.codes) == (400, ["DIGEST_INVALID"])
    assert registry.ask("HEAD", f"blobs/{sha256(b'these')}").status == 404
    assert registry.ask("PUT", f"{location}?digest={sha256(b'these')}", b"these").codes == [
        "BLOB_UPLOAD_UNKNOWN"
    ]
    shapeless = registry.ask("POST", "blobs/uploads/?digest=md5:1", b"these")
    assert shapeless.codes == ["DIGEST_INVALID"]


def test_an_upload_can_be_given_up(registry: Registry) -> None:
    location = registry.ask("POST", "blobs/uploads/").headers["Location"]
    assert registry.ask("DELETE", location).status == 204
    assert registry.ask("GET", location).codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_a_blob_is_mounted_from_another_repository_of_the_same_registry(
    registry: Registry, cloud: Cloud
) -> None:
    digest = registry.push_blob(b"shared")["digest"]
    cloud.make_repository("copy")
    other = Registry(registry.port, "111111111111.eu-central-1/copy", registry.password)
    assert other.ask("HEAD", f"blobs/{digest}").status == 404
    mount = f"blobs/uploads/?mount={digest}&from={registry.place}"
    assert other.ask("POST", mount).status == 202, "the account setting is off"
    cloud.ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    assert other.ask("POST", mount).status == 202, "no manifest has the blob"
    registry.put("r1", registry.manifest(b"shared"))
    mounted = other.ask("POST", f"blobs/uploads/?mount={digest}&from={registry.place}")
    assert (mounted.status, mounted.headers["Docker-Content-Digest"]) == (201, digest)
    assert other.ask("GET", f"blobs/{digest}").body == b"shared"
    unknown = other.ask("POST", f"blobs/uploads/?mount={sha256(b'no')}&from={registry.place}")
    assert unknown.status == 202
    cloud.client("ecr", key="222222222222").put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    abroad = cloud.make_repository("abroad", account="222222222222").split("/", 1)[1]
    far = Registry(registry.port, abroad, cloud.password(account="222222222222"))
    assert far.ask("POST", mount).status == 202, "another account is another registry"


def test_another_account_may_do_what_the_repositorys_policy_allows(registry: Registry, cloud: Cloud) -> None:
    manifest = registry.manifest()
    registry.put("r1", manifest)
    layer = json.loads(manifest)["layers"][0]["digest"]
    other = Registry(registry.port, registry.place, cloud.password(account="222222222222"))
    api = cloud.client("ecr", key="222222222222")
    asked = {"repositoryName": "team/app", "registryId": "111111111111", "imageIds": [{"imageTag": "r1"}]}
    denied = other.ask("GET", "manifests/r1")
    assert (denied.status, denied.codes) == (403, ["DENIED"])
    with pytest.raises(api.exceptions.ClientError, match="AccessDeniedException.*ecr:BatchGetImage"):
        api.batch_get_image(**asked)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    }
    cloud.ecr.set_repository_policy(
        repositoryName="team/app",
        policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    assert other.ask("GET", "manifests/r1").body == manifest
    assert other.ask("GET", f"referrers/{sha256(manifest)}").status == 200
    assert other.ask("GET", f"blobs/{layer}").body == b"layer"
    assert other.ask("POST", "blobs/uploads/").codes == ["DENIED"]
    assert api.batch_get_image(**asked)["images"][0]["imageManifest"].encode() == manifest
    with pytest.raises(api.exceptions.ClientError, match="ecr:DescribeImages"):
        api.describe_images(**asked)


def test_an_upload_that_was_cut_off_goes_on_where_it_was(registry: Registry) -> None:
    content = bytes(range(256)) * 4000
    location = registry.ask("POST", "blobs/uploads/").headers["Location"]
    with socket.create_connection(("127.0.0.1", registry.port)) as connection:
        login = base64.b64encode(f"AWS:{registry.password}".encode()).decode()
        path = location.removeprefix(f"http://127.0.0.1:{registry.port}")
        head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content[:700_000])
    held, before = 0, -1
    while held != before:
        # What is on its way still arrives.
        time.sleep(0.05)
        held, before = int(registry.ask("GET", location).headers["Range"].partition("-")[2]) + 1, held
    rest = {"Content-Range": f"{held}-{len(content) - 1}"}
    assert registry.ask("PATCH", location, content[held:], rest).headers["Range"] == f"0-{len(content) - 1}"
    assert registry.ask("PUT", f"{location}?digest={sha256(content)}").status == 201


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_digest(registry: Registry, cloud: Cloud) -> None:
    manifest = registry.manifest()
    put = registry.put("r1", manifest)
    assert (put.status, put.headers["Docker-Content-Digest"]) == (201, sha256(manifest))
    for reference in ("r1", sha256(manifest)):
        got = registry.ask("GET", f"manifests/{reference}")
        assert (got.body, got.headers["Content-Type"]) == (manifest, MANIFEST_TYPE)
        assert got.headers["Docker-Content-Digest"] == sha256(manifest)
        head = registry.ask("HEAD", f"manifests/{reference}")
        assert (head.body, head.headers["Content-Length"]) == (b"", str(len(manifest)))
    details = cloud.ecr.describe_images(repositoryName="team/app")["imageDetails"]
    assert [(image["imageDigest"], image["imageTags"]) for image in details] == [(sha256(manifest), ["r1"])]
    assert registry.ask("GET", "manifests/nope").codes == ["MANIFEST_UNKNOWN"]


def test_an_image_put_by_the_api_is_pulled_from_the_registry(registry: Registry, cloud: Cloud) -> None:
    manifest = cloud.make_manifest("team/app", b"by api")
    cloud.ecr.put_image(repositoryName="team/app", imageTag="api", imageManifest=manifest)
    got = registry.ask("GET", "manifests/api")
    assert got.body.decode() == manifest
    layer = json.loads(manifest)["layers"][0]["digest"]
    assert registry.ask("GET", f"blobs/{layer}").body == b"by api"


def test_a_tag_of_an_immutable_repository_does_not_move(registry: Registry) -> None:
    first, second = registry.manifest(b"one"), registry.manifest(b"two")
    assert registry.put("r1", first).status == 201
    moved = registry.put("r1", second)
    assert (moved.status, moved.codes) == (400, ["TAG_INVALID"])
    assert b"The image tag 'r1' already exists in the 'team/app' repository" in moved.body
    assert registry.put("r1", first).status == 201
    assert registry.ask("GET", "manifests/r1").body == first


@pytest.mark.parametrize(
    ("reference", "manifest", "code"),
    [
        ("r1", b"{not json", "MANIFEST_INVALID"),
        ("r1", b"\xff\xfe", "MANIFEST_INVALID"),
        (sha256(b"other"), b"{}", "DIGEST_INVALID"),
        (
            "r1",
            json.dumps({"layers": [{"digest": sha256(b"absent"), "size": 1}]}).encode(),
            "MANIFEST_BLOB_UNKNOWN",
        ),
    ],
)
def test_bad_manifests_are_refused(registry: Registry, reference: str, manifest: bytes, code: str) -> None:
    answer = registry.put(reference, manifest)
    assert (answer.status, answer.codes) == (400, [code])


def test_an_index_holds_images_by_digest(registry: Registry) -> None:
    manifest = registry.manifest()
    child = {"mediaType": MANIFEST_TYPE, "digest": sha256(manifest), "size": len(manifest)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [child]}).encode()
    assert registry.put("multi", index, INDEX_TYPE).codes == ["MANIFEST_BLOB_UNKNOWN"]
    assert registry.put(sha256(manifest), manifest).status == 201
    assert registry.put("multi", index, INDEX_TYPE).headers["Docker-Content-Digest"] == sha256(index)


def test_tags_are_listed_in_pages(registry: Registry) -> None:
    manifest = registry.manifest()
    for tag in ("c", "a", "b"):
        registry.put(tag, manifest)
    assert json.loads(registry.ask("GET", "tags/list").body)["tags"] == ["a", "b", "c"]
    page = registry.ask("GET", "tags/list?n=2")
    assert json.loads(page.body)["tags"] == ["a", "b"]
    following = page.headers["Link"].split(">")[0].removeprefix("<")
    assert json.loads(registry.ask("GET", following).body)["tags"] == ["c"]


def test_referrers_point_at_their_subject(registry: Registry) -> None:
    image = registry.manifest()
    registry.put("r1", image)
    subject = {"mediaType": MANIFEST_TYPE, "digest": sha256(image), "size": len(image)}
    signature = registry.manifest(b"sig", artifactType="application/example.sig", subject=subject)
    assert registry.put(sha256(signature), signature).headers["OCI-Subject"] == sha256(image)
    listed = json.loads(registry.ask("GET", f"referrers/{sha256(image)}").body)["manifests"]
    assert [(one["digest"], one["artifactType"]) for one in listed] == [
        (sha256(signature), "application/example.sig")
    ]
    other = registry.ask("GET", f"referrers/{sha256(image)}?artifactType=x/y")
    assert json.loads(other.body)["manifests"] == []


def test_deleting_is_the_apis_affair(registry: Registry) -> None:
    answer = registry.ask("DELETE", "manifests/r1")
    assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_buildah_pushes_and_skopeo_pulls_the_same_digest(
    registry: Registry, cloud: Cloud, tmp_path: Path
) -> None:
    buildah, skopeo = require_tool("buildah"), require_tool("skopeo")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text('FROM scratch\nCOPY data /data\nCMD ["/data"]\n')
    storage = (
        "--root",
        str(tmp_path / "root"),
        "--runroot",
        str(tmp_path / "run"),
        "--storage-driver",
        "vfs",
    )
    uri = f"127.0.0.1:{registry.port}/{registry.place}"
    login = f"AWS:{registry.password}"

    def build_and_push(content: bytes) -> subprocess.CompletedProcess[str]:
        (context / "data").write_bytes(content)
        built = run(buildah, *storage, "bud", "--isolation", "chroot", "-t", f"{uri}:r1", str(context))
        assert built.returncode == 0, built.stderr
        digest_file = ("--digestfile", str(tmp_path / "digest"))
        return run(
            buildah, *storage, "push", "--tls-verify=false", "--creds", login, *digest_file, f"{uri}:r1"
        )

    pushed = build_and_push(b"x" * 300_000)
    assert pushed.returncode == 0, pushed.stderr
    digest = (tmp_path / "digest").read_text()
    details = cloud.ecr.describe_images(repositoryName="team/app")["imageDetails"][0]
    assert (details["imageDigest"], details["imageTags"]) == (digest, ["r1"])

    plain = ("--tls-verify=false", "--creds", login)
    inspected = run(skopeo, "inspect", *plain, f"docker://{uri}@{digest}")
    assert inspected.returncode == 0, inspected.stderr
    assert json.loads(inspected.stdout)["Digest"] == digest

    copy_uri = cloud.make_repository("promoted", account="222222222222")
    copied = run(
        skopeo,
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--src-creds",
        login,
        "--dest-creds",
        f"AWS:{cloud.password(account='222222222222')}",
        f"docker://{uri}@{digest}",
        f"docker://{copy_uri}:r1",
    )
    assert copied.returncode == 0, copied.stderr
    there = cloud.client("ecr", key="222222222222").describe_images(repositoryName="promoted")["imageDetails"]
    assert [image["imageDigest"] for image in there] == [digest]

    refused = build_and_push(b"something else")
    assert refused.returncode != 0
    assert "cannot be overwritten because the tag is immutable" in refused.stderr
