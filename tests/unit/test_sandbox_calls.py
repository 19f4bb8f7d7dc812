from __future__ import annotations

import json

import pytest

from orchestrator.sandbox import calls


def s3(method: str, path: str, query: str = "") -> calls.Call:
    return calls.read("s3", {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}, b"")


@pytest.mark.parametrize(
    ("method", "path", "query", "operation", "parameters"),
    [
        (
            "GET",
            "/b/dev/terraform.tfstate",
            "x-id=GetObject",
            "GetObject",
            {"Bucket": "b", "Key": "dev/terraform.tfstate"},
        ),
        ("HEAD", "/b/k", "", "HeadObject", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k%20x", "x-id=PutObject", "PutObject", {"Bucket": "b", "Key": "k x"}),
        ("PUT", "/b/k", "partNumber=1&uploadId=u", "UploadPart", {"Bucket": "b", "Key": "k"}),
        ("DELETE", "/b/k", "", "DeleteObject", {"Bucket": "b", "Key": "k"}),
        ("GET", "/b", "list-type=2&prefix=orch/", "ListObjectsV2", {"Bucket": "b", "Prefix": "orch/"}),
        ("GET", "/b", "versioning", "GetBucketVersioning", {"Bucket": "b"}),
        ("PUT", "/b", "publicAccessBlock", "PutPublicAccessBlock", {"Bucket": "b"}),
        ("PUT", "/b", "", "CreateBucket", {"Bucket": "b"}),
        ("HEAD", "/b", "", "HeadBucket", {"Bucket": "b"}),
        ("GET", "/", "", "ListBuckets", {}),
    ],
)
def test_s3_is_told_by_method_path_and_query(method, path, query, operation, parameters):
    assert s3(method, path, query) == calls.Call(operation, parameters)


def test_a_json_service_names_its_operation_in_a_header():
    environ = {"HTTP_X_AMZ_TARGET": "AmazonEC2ContainerServiceV20141113.UpdateService"}
    body = json.dumps({"service": "web", "note": "x" * 10_000}).encode()
    found = calls.read("ecs", environ, body)
    assert found.operation == "UpdateService"
    assert found.parameters["service"] == "web"
    assert len(found.parameters["note"]) == 4096
    assert calls.read("ecs", environ, b"no json") == calls.Call("UpdateService", {})


def test_a_query_service_names_it_in_the_form():
    environ = {"CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8"}
    found = calls.read("iam", environ, b"Action=CreateRole&RoleName=a&Path=%2Forch%2F")
    assert found == calls.Call("CreateRole", {"RoleName": "a", "Path": "/orch/"})


def test_what_nobody_knows_is_left_open():
    assert calls.read("elsewhere", {}, b"") == calls.Call("", {})


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("HEAD", "blobs/sha256:0", "BatchCheckLayerAvailability"),
        ("GET", "blobs/sha256:0", "GetDownloadUrlForLayer"),
        ("POST", "blobs/uploads/", "InitiateLayerUpload"),
        ("PATCH", "blobs/uploads/u1", "UploadLayerPart"),
        ("PUT", "blobs/uploads/u1", "CompleteLayerUpload"),
        ("PUT", "manifests/v1", "PutImage"),
        ("GET", "manifests/v1", "BatchGetImage"),
        ("HEAD", "manifests/v1", "BatchGetImage"),
    ],
)
def test_the_registry_speaks_of_ecrs_actions(method, path, operation):
    place = "111111111111.eu-central-1/demo-dev/web"
    found = calls.read_registry(method, f"/v2/{place}/{path}")
    expected = {"registryId": "111111111111", "region": "eu-central-1", "repositoryName": "demo-dev/web"}
    assert found == calls.Call(operation, expected)
    assert calls.read_registry("GET", "/v2/") == calls.Call("", {})
