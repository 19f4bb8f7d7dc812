"""The ECR API: true digests and sizes, tags that do not move, and errors by AWS's own names."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    code: str = error.value.response["Error"]["Code"]
    return code


def test_the_repository_address_carries_account_and_region(cloud: Cloud) -> None:
    uri = cloud.make_repository("team/app")
    assert uri == f"127.0.0.1:{cloud.sandbox.port}/111111111111.eu-central-1/team/app"
    described = cloud.ecr.describe_repositories(repositoryNames=["team/app"])["repositories"][0]
    assert described["repositoryUri"] == uri
    assert described["imageTagMutability"] == "IMMUTABLE"


def test_an_authorization_token_is_for_docker_login_and_lasts_twelve_hours(cloud: Cloud) -> None:
    data = cloud.ecr.get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == cloud.sandbox.endpoint_url
    user, password = base64.b64decode(data["authorizationToken"]).decode().split(":", 1)
    assert user == "AWS"
    assert len(password) > 64
    again = cloud.ecr.get_authorization_token()["authorizationData"][0]
    assert again["authorizationToken"] != data["authorizationToken"]
    cloud.advance(60)
    later = cloud.ecr.get_authorization_token()["authorizationData"][0]
    assert (later["expiresAt"] - data["expiresAt"]).total_seconds() == pytest.approx(60, abs=1)


def test_digest_size_and_media_type_are_those_of_the_manifest(cloud: Cloud) -> None:
    cloud.make_repository("app")
    manifest = cloud.make_manifest("app", b"x" * 1000)
    put = cloud.ecr.put_image(repositoryName="app", imageTag="r1", imageManifest=manifest)["image"]
    assert put["imageId"] == {"imageDigest": digest_of(manifest), "imageTag": "r1"}
    details = cloud.ecr.describe_images(repositoryName="app", imageIds=[{"imageTag": "r1"}])["imageDetails"]
    assert len(details) == 1
    assert details[0]["imageDigest"] == digest_of(manifest)
    assert details[0]["imageTags"] == ["r1"]
    assert details[0]["imageSizeInBytes"] == 1000 + len(b"{}")
    assert details[0]["imageManifestMediaType"] == MANIFEST_TYPE
    assert details[0]["artifactMediaType"] == "application/vnd.oci.image.config.v1+json"
    got = cloud.ecr.batch_get_image(repositoryName="app", imageIds=[{"imageDigest": digest_of(manifest)}])
    assert got["images"][0]["imageManifest"] == manifest
    assert got["failures"] == []


def test_one_image_may_have_several_tags(cloud: Cloud) -> None:
    cloud.make_repository("app")
    manifest = cloud.make_manifest("app")
    for tag in ("r1", "r2"):
        cloud.ecr.put_image(repositoryName="app", imageTag=tag, imageManifest=manifest)
    listed = cloud.ecr.list_images(repositoryName="app")["imageIds"]
    assert listed == [{"imageDigest": digest_of(manifest), "imageTag": tag} for tag in ("r1", "r2")]
    assert len(cloud.ecr.describe_images(repositoryName="app")["imageDetails"]) == 1


def test_an_immutable_tag_does_not_move(cloud: Cloud) -> None:
    cloud.make_repository("app")
    first = cloud.make_manifest("app", b"one")
    cloud.ecr.put_image(repositoryName="app", imageTag="r1", imageManifest=first)
    second = cloud.make_manifest("app", b"two")
    with pytest.raises(ClientError) as moved:
        cloud.ecr.put_image(repositoryName="app", imageTag="r1", imageManifest=second)
    assert code_of(moved) == "ImageTagAlreadyExistsException"
    assert "'r1' already exists in the 'app' repository" in str(moved.value)
    with pytest.raises(ClientError) as again:
        cloud.ecr.put_image(repositoryName="app", imageTag="r1", imageManifest=first)
    assert code_of(again) == "ImageAlreadyExistsException"
    assert cloud.ecr.list_images(repositoryName="app")["imageIds"] == [
        {"imageDigest": digest_of(first), "imageTag": "r1"}
    ]


def test_a_mutable_tag_moves_and_leaves_the_old_image_untagged(cloud: Cloud) -> None:
    cloud.make_repository("app", immutable=False)
    manifests = [cloud.make_manifest("app", content) for content in (b"one", b"two")]
    for manifest in manifests:
        cloud.ecr.put_image(repositoryName="app", imageTag="latest", imageManifest=manifest)
    tagged = cloud.ecr.describe_images(repositoryName="app", filter={"tagStatus": "TAGGED"})["imageDetails"]
    untagged = cloud.ecr.describe_images(repositoryName="app", filter={"tagStatus": "UNTAGGED"})[
        "imageDetails"
    ]
    assert [image["imageDigest"] for image in tagged] == [digest_of(manifests[1])]
    assert [image["imageDigest"] for image in untagged] == [digest_of(manifests[0])]
    assert "imageTags" not in untagged[0]


def test_a_manifest_needs_its_layers(cloud: Cloud) -> None:
    cloud.make_repository("app")
    manifest = json.loads(cloud.make_manifest("app"))
    manifest["layers"][0]["digest"] = digest_of("never uploaded")
    with pytest.raises(ClientError) as refused:
        cloud.ecr.put_image(repositoryName="app", imageTag="r1", imageManifest=json.dumps(manifest))
    assert code_of(refused) == "LayersNotFoundException"


def test_an_index_needs_its_images(cloud: Cloud) -> None:
    cloud.make_repository("app")
    manifest = cloud.make_manifest("app")
    child = {"mediaType": MANIFEST_TYPE, "digest": digest_of(manifest), "size": len(manifest)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [child]})
    with pytest.raises(ClientError) as refused:
        cloud.ecr.put_image(repositoryName="app", imageTag="multi", imageManifest=index)
    assert code_of(refused) == "ReferencedImagesNotFoundException"
    cloud.ecr.put_image(repositoryName="app", imageManifest=manifest, imageManifestMediaType=MANIFEST_TYPE)
    cloud.ecr.put_image(repositoryName="app", imageTag="multi", imageManifest=index)
    found = cloud.ecr.describe_images(repositoryName="app", imageIds=[{"imageTag": "multi"}])["imageDetails"][
        0
    ]
    assert (found["imageDigest"], found["imageManifestMediaType"]) == (digest_of(index), INDEX_TYPE)


def test_a_digest_that_is_not_the_manifests_is_refused(cloud: Cloud) -> None:
    cloud.make_repository("app")
    with pytest.raises(ClientError) as refused:
        cloud.ecr.put_image(
            repositoryName="app", imageManifest=cloud.make_manifest("app"), imageDigest=digest_of("other")
        )
    assert code_of(refused) == "ImageDigestDoesNotMatchException"


def test_what_is_not_there_is_said(cloud: Cloud) -> None:
    cloud.make_repository("app")
    with pytest.raises(ClientError) as missing:
        cloud.ecr.describe_images(repositoryName="app", imageIds=[{"imageTag": "nope"}])
    assert code_of(missing) == "ImageNotFoundException"
    with pytest.raises(ClientError) as unknown:
        cloud.ecr.describe_images(repositoryName="nope")
    assert code_of(unknown) == "RepositoryNotFoundException"
    wanted = {"imageDigest": digest_of("nope")}
    failure = cloud.ecr.batch_get_image(repositoryName="app", imageIds=[wanted])["failures"][0]
    assert (failure["imageId"], failure["failureCode"]) == (wanted, "ImageNotFound")


def test_deleting_a_tag_keeps_the_image_until_its_last_tag_goes(cloud: Cloud) -> None:
    cloud.make_repository("app")
    manifest = cloud.make_manifest("app")
    for tag in ("r1", "r2", "r3"):
        cloud.ecr.put_image(repositoryName="app", imageTag=tag, imageManifest=manifest)
    deleted = cloud.ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageTag": "r1"}])
    assert deleted["imageIds"] == [{"imageDigest": digest_of(manifest), "imageTag": "r1"}]
    assert {image["imageTag"] for image in cloud.ecr.list_images(repositoryName="app")["imageIds"]} == {
        "r2",
        "r3",
    }
    cloud.ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageDigest": digest_of(manifest)}])
    assert cloud.ecr.list_images(repositoryName="app")["imageIds"] == []
