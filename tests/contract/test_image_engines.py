"""Each image builder for real: build FROM scratch, log in, push to the sandbox's ECR, and the digest it recorded.

Docker gets an engine of its own, with its own data, socket and no network, so that none on this machine is touched.
"""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from orchestrator.errors import ImageError
from orchestrator.events import OutputLine
from orchestrator.image import ecr, engine
from tests.conftest import require_tool

pytest_plugins = ("tests.contract.sandbox_fixtures",)


@pytest.fixture(scope="module")
def docker_host(tmp_path_factory):
    docker = require_tool("docker")
    dockerd = require_tool("dockerd")
    if os.geteuid() != 0:
        # An engine of our own needs root. A CI runner's engine is nobody's, so it may be used; anybody else's may not.
        if os.environ.get("CI") != "true":
            pytest.skip("an engine of our own needs root")
        context = [docker, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        yield subprocess.run(context, capture_output=True, text=True, check=True).stdout.strip()
        return
    base = tmp_path_factory.mktemp("docker")
    host = f"unix://{base}/docker.sock"
    argv = [dockerd, f"--host={host}", f"--data-root={base}/data", f"--exec-root={base}/exec"]
    argv += [
        f"--pidfile={base}/pid",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        "--storage-driver=vfs",
    ]
    with (base / "log").open("w") as log:
        daemon = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        for _ in range(150):
            if (
                subprocess.run(
                    [docker, f"--host={host}", "version"], capture_output=True, check=False
                ).returncode
                == 0
            ):
                break
            assert daemon.poll() is None, (base / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield host
    finally:
        daemon.terminate()
        daemon.wait(30)


@pytest.fixture(params=engine.ENGINES)
def builder(request, tmp_path):
    require_tool(request.param)
    environ = dict(os.environ)
    if request.param == "docker":
        # Debian's client has no buildx, without which BuildKit cannot be asked.
        environ |= {"DOCKER_HOST": request.getfixturevalue("docker_host"), "DOCKER_BUILDKIT": "0"}
    elif os.geteuid() == 0:
        storage = tmp_path / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
        )
        environ |= {"CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}
    return engine.find(request.param, environ)


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(1000))
    (folder / "Dockerfile").write_text("FROM scratch\nARG WHO\nCOPY file /file\nLABEL who=$WHO\n")
    return folder


def build(builder, context, reference, emit=lambda _event: None):
    spec = engine.Build(
        context=context,
        dockerfile=context / "Dockerfile",
        platform="linux/amd64",
        build_args={"WHO": "somebody"},
        labels={"org.opencontainers.image.revision": "abc"},
        reference=reference,
    )
    engine.build(builder, spec, emit)


def test_what_is_pushed_is_what_ecr_has(builder, context, cloud):
    repository = cloud.make_repository("demo/web")
    events = []
    build(builder, context, f"{repository}:abc", events.append)
    login = ecr.log_in(cloud.ecr, repository)
    digest = engine.push(builder, f"{repository}:abc", login, events.append)
    assert digest == ecr.digest_of_tag(cloud.ecr, repository, "abc")
    assert ecr.has_digest(cloud.ecr, repository, digest)
    assert ecr.digest_of_tag(cloud.ecr, repository, "absent") is None
    said = "\n".join(event.text for event in events if isinstance(event, OutputLine))
    assert login.password not in said
    assert "COPY file" in said


def test_the_users_own_login_is_left_alone(builder, context, cloud, tmp_path):
    repository = cloud.make_repository("demo/web")
    home = tmp_path / "home"
    home.mkdir()
    alone = engine.Engine(
        builder.name, builder.path, {**builder.env, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    )
    build(alone, context, f"{repository}:abc")
    engine.push(alone, f"{repository}:abc", ecr.log_in(cloud.ecr, repository), lambda _event: None)
    written = [path for path in home.rglob("*.json") if "auth" in path.read_text()]
    assert written == []


def test_a_push_over_an_immutable_tag_is_the_registrys_refusal(builder, context, cloud):
    repository = cloud.make_repository("demo/web")
    login = ecr.log_in(cloud.ecr, repository)
    for content in ("one", "two"):
        (context / "file").write_text(content)
        build(builder, context, f"{repository}:abc")
        if content == "one":
            first = engine.push(builder, f"{repository}:abc", login, lambda _event: None)
            continue
        with pytest.raises(ImageError) as caught:
            engine.push(builder, f"{repository}:abc", login, lambda _event: None)
    assert f"{builder.name} push of {repository}:abc failed" in caught.value.message
    assert "already exists" in "\n".join(caught.value.details)
    assert ecr.digest_of_tag(cloud.ecr, repository, "abc") == first


def test_a_build_that_fails_shows_its_last_lines(builder, context, cloud):
    (context / "Dockerfile").write_text("FROM scratch\nCOPY absent /absent\n")
    with pytest.raises(ImageError) as caught:
        build(builder, context, "127.0.0.1:1/web:abc")
    assert "absent" in "\n".join(caught.value.details)
    (context / "Dockerfile").unlink()
    with pytest.raises(ImageError, match="there is no"):
        build(builder, context, "127.0.0.1:1/web:abc")


def test_a_wrong_password_is_told(builder, context, cloud):
    repository = cloud.make_repository("demo/web")
    build(builder, context, f"{repository}:abc")
    login = engine.Login(repository.split("/")[0], "AWS", "wrong")
    with pytest.raises(ImageError, match="login to .* failed"):
        engine.push(builder, f"{repository}:abc", login, lambda _event: None)
