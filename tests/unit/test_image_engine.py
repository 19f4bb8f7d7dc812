from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ImageError, ToolMissingError
from orchestrator.image import ecr, engine
from orchestrator.image.engine import Build, Engine, Login

SPEC = Build(
    context=Path("/p/app"),
    dockerfile=Path("/p/app/Dockerfile"),
    platform="",
    build_args={"VERSION": "1 2"},
    labels={"org.opencontainers.image.revision": "abc"},
    reference="registry.example/web:abc",
)


@pytest.mark.parametrize(
    ("name", "verb"), [("docker", ["build"]), ("podman", ["build"]), ("buildah", ["bud", "--layers"])]
)
def test_the_build_command_of_each_engine(name, verb):
    spec = Build(**{**vars(SPEC), "platform": engine.native_platform()})
    assert engine.build_argv(Engine(name, f"/usr/bin/{name}", {}), spec) == [
        f"/usr/bin/{name}",
        *verb,
        "--file=/p/app/Dockerfile",
        "--tag=registry.example/web:abc",
        "--label=org.opencontainers.image.revision=abc",
        "--build-arg=VERSION=1 2",
        "/p/app",
    ]


def test_a_foreign_platform_is_asked_for():
    foreign = "linux/arm64" if engine.native_platform() == "linux/amd64" else "linux/amd64"
    argv = engine.build_argv(Engine("podman", "podman", {}), Build(**{**vars(SPEC), "platform": foreign}))
    assert f"--platform={foreign}" in argv


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("127.0.0.1:4577", True),
        ("127.0.0.1", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("111111111111.dkr.ecr.eu-central-1.amazonaws.com", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_loopback_registries(registry, expected):
    assert engine.is_loopback(registry) is expected


def test_no_engine_lists_why_each_one_does_not_work(tmp_path):
    with pytest.raises(ToolMissingError) as caught:
        engine.find("auto", {"PATH": str(tmp_path)})
    assert caught.value.details == ("docker: not on PATH", "podman: not on PATH", "buildah: not on PATH")
    assert "--image" in caught.value.hint


def test_a_docker_client_without_a_daemon_is_passed_over(tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    (tmp_path / "buildah").write_text("#!/bin/sh\n")
    (tmp_path / "buildah").chmod(0o755)
    environ = {"PATH": str(tmp_path)}
    assert engine.find("auto", environ).name == "buildah"
    with pytest.raises(ToolMissingError) as caught:
        engine.find("docker", environ)
    assert caught.value.details == ("docker: Cannot connect to the Docker daemon",)


def test_a_login_never_shows_its_password():
    assert "s3cret" not in repr(Login("r", "AWS", "s3cret"))


@pytest.mark.parametrize(
    "text",
    [
        "web",
        "web:latest",
        "r/web:latest",
        "r/web@sha256:12",
        f"r/web:tag@sha256:{'a' * 64}",
        f"@sha256:{'a' * 64}",
        "r/web@",
    ],
)
def test_an_image_without_digest_is_refused(text):
    with pytest.raises(ImageError, match="does not name an image by its digest"):
        ecr.parse_reference(text)


def test_an_image_with_digest_is_taken():
    image = ecr.parse_reference(f"127.0.0.1:4577/a/web@sha256:{'a' * 64}")
    assert (image.repository, image.digest) == ("127.0.0.1:4577/a/web", f"sha256:{'a' * 64}")
