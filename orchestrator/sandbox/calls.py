"""One AWS API call as the sandbox's log of calls keeps it: service, operation, parameters, and who says to have made it.

Read off the request alone, as CloudTrail would: a JSON service names the operation in X-Amz-Target, a query service in the
form field Action, S3 by method, path and query as botocore's own model of it spells them, and the registry as ECR's
documentation maps the distribution API to its actions. Pure, but for reading that model once.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

_KEPT_TEXT = 4096

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html and .../image-pull.html say which permissions a
# push and a pull need; these are the requests of the distribution API that each stands for.
_REGISTRY: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("HEAD", re.compile(r"/v2/(?P<place>.+)/blobs/[^/]+"), "BatchCheckLayerAvailability"),
    ("GET", re.compile(r"/v2/(?P<place>.+)/blobs/uploads/[^/]+"), "UploadLayerPart"),
    ("GET", re.compile(r"/v2/(?P<place>.+)/blobs/[^/]+"), "GetDownloadUrlForLayer"),
    ("POST", re.compile(r"/v2/(?P<place>.+)/blobs/uploads/?"), "InitiateLayerUpload"),
    ("PATCH", re.compile(r"/v2/(?P<place>.+)/blobs/uploads/[^/]+"), "UploadLayerPart"),
    ("PUT", re.compile(r"/v2/(?P<place>.+)/blobs/uploads/[^/]+"), "CompleteLayerUpload"),
    ("PUT", re.compile(r"/v2/(?P<place>.+)/manifests/[^/]+"), "PutImage"),
    ("HEAD", re.compile(r"/v2/(?P<place>.+)/manifests/[^/]+"), "BatchGetImage"),
    ("GET", re.compile(r"/v2/(?P<place>.+)/manifests/[^/]+"), "BatchGetImage"),
    ("GET", re.compile(r"/v2/(?P<place>.+)/tags/list"), "ListImages"),
    ("GET", re.compile(r"/v2/(?P<place>.+)/referrers/[^/]+"), "ListImageReferrers"),
)


@dataclass(frozen=True)
class Call:
    """What was asked. `parameters` are the request's own, flat for a query service; long texts are cut."""

    operation: str
    parameters: dict[str, Any]


def read(service: str, environ: dict[str, Any], body: bytes) -> Call:
    """The operation and the parameters of a request to one AWS service; an operation that is not known is ""."""
    target: str = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return Call(target.rsplit(".", 1)[-1], _shortened(_json(body)))
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
        return Call(form.pop("Action", ""), _shortened(form))
    if service == "s3":
        return _read_s3(environ)
    return Call("", {})


def read_registry(method: str, path: str) -> Call:
    """A request of the distribution API as the ECR action that it needs; "" for the greeting at /v2/."""
    for wanted, pattern, operation in _REGISTRY:
        match = pattern.fullmatch(path) if method == wanted else None
        if match:
            account, _, rest = match["place"].partition(".")
            region, _, name = rest.partition("/")
            return Call(operation, {"registryId": account, "region": region, "repositoryName": name})
    return Call("", {})


def _read_s3(environ: dict[str, Any]) -> Call:
    bucket, _, key = environ.get("PATH_INFO", "").lstrip("/").partition("/")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    asked = set(query)
    best = max(
        (
            (len(keys), operation)
            for method, has_bucket, has_key, keys, operation in _s3_operations()
            if (method, has_bucket, has_key) == (environ["REQUEST_METHOD"], bool(bucket), bool(key))
            and keys <= asked
        ),
        default=(0, ""),
    )
    parameters = {"Bucket": bucket, "Key": unquote(key), "Prefix": query.get("prefix", "")}
    return Call(best[1], {name: value for name, value in parameters.items() if value})


@functools.cache
def _s3_operations() -> tuple[tuple[str, bool, bool, frozenset[str], str], ...]:
    """Method, whether there are a bucket and a key, the query keys that tell it apart, and the operation."""
    from botocore.loaders import Loader

    model = Loader().load_service_model("s3", "service-2")
    found = []
    for name, operation in model["operations"].items():
        if name in {"CopyObject", "UploadPartCopy", "ListObjects", "ListDirectoryBuckets"}:
            continue  # told apart by a header or a host, or needs the same right as its newer form
        path, _, query = operation["http"]["requestUri"].partition("?")
        keys = {part.partition("=")[0] for part in query.split("&") if part} - {"list-type"}
        shape = model["shapes"][operation["input"]["shape"]] if "input" in operation else {}
        members = [shape["members"][member] for member in shape.get("required", ())]
        keys |= {member["locationName"] for member in members if member.get("location") == "querystring"}
        found.append(
            (operation["http"]["method"], "{Bucket}" in path, "{Key+}" in path, frozenset(keys), name)
        )
    return tuple(found)


def _json(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body or b"{}")
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_shortened(member) for member in value]
    return value[:_KEPT_TEXT] if isinstance(value, str) else value
