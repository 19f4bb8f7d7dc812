"""Image builders: docker, podman and buildah behind three calls — find one, build, push.

Hides each one's flags, and the login: credentials go by stdin into a folder made for one push and removed after it, so that
the user's own engine configuration neither gets nor loses anything. The digest of a push is the engine's own record of it.
Touches: the engine, the registry, one temporary folder.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections import deque
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import ImageError, ToolMissingError
from orchestrator.events import Emit, OutputLine

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINES = ("docker", "podman", "buildah")
_TAIL_LINES = 20
_MACHINES = {
    "x86_64": "linux/amd64",
    "amd64": "linux/amd64",
    "aarch64": "linux/arm64",
    "arm64": "linux/arm64",
}


@dataclass(frozen=True)
class Engine:
    """An image builder that answered; `env` is the environment it runs in."""

    name: str
    path: str
    env: Mapping[str, str]


@dataclass(frozen=True)
class Login:
    """Registry credentials for one push."""

    registry: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.registry!r}, {self.username!r}, [REDACTED])"


@dataclass(frozen=True)
class Build:
    """What to build: absolute folder and Dockerfile, and the reference (repository:tag) to give the image."""

    context: Path
    dockerfile: Path
    platform: str
    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    reference: str


def find(setting: str, environ: Mapping[str, str]) -> Engine:
    """The engine named by the setting, or with `auto` the first that works. Raises ToolMissingError."""
    refused: list[str] = []
    for name in ENGINES if setting == "auto" else (setting,):
        path = shutil.which(name, path=environ.get("PATH"))
        if path is None:
            refused.append(f"{name}: not on PATH")
            continue
        engine = Engine(name, path, environ)
        # podman and buildah need no daemon; a docker client without its daemon can build nothing.
        problem = _daemon_problem(engine) if name == "docker" else ""
        if not problem:
            return engine
        refused.append(f"{name}: {problem}")
    raise ToolMissingError(
        "no image engine works here"
        if setting == "auto"
        else f"the image engine {setting} does not work here",
        hint="start Docker, or install podman or buildah; or give an image with --image REPOSITORY@sha256:…",
        details=tuple(refused),
    )


def build(engine: Engine, spec: Build, emit: Emit) -> None:
    """Builds the image under its reference. Raises ImageError with the engine's last lines."""
    if not spec.dockerfile.is_file():
        raise ImageError(
            f"there is no {spec.dockerfile}",
            hint="set `context` and `dockerfile` of the service in orch.toml",
        )
    _run(
        engine,
        build_argv(engine, spec),
        f"{engine.name} build of {spec.context} failed",
        emit,
        cwd=spec.context,
    )


def build_argv(engine: Engine, spec: Build) -> list[str]:
    """The engine's build command."""
    verb = ["bud", "--layers"] if engine.name == "buildah" else ["build"]
    flags = [f"--file={spec.dockerfile}", f"--tag={spec.reference}"]
    if spec.platform != native_platform():
        flags.append(f"--platform={spec.platform}")
    flags += [f"--label={key}={value}" for key, value in spec.labels.items()]
    flags += [f"--build-arg={key}={value}" for key, value in spec.build_args.items()]
    return [engine.path, *verb, *flags, str(spec.context)]


def push(engine: Engine, reference: str, login: Login, emit: Emit) -> str:
    """Pushes a built image and returns the digest that the engine recorded. Raises ImageError with its last lines."""
    with tempfile.TemporaryDirectory(prefix="orch-login-") as folder:
        if engine.name == "docker":
            return _push_docker(engine, reference, login, Path(folder), emit)
        return _push_daemonless(engine, reference, login, Path(folder), emit)


def native_platform() -> str:
    """The platform that engines build for by default on this machine."""
    return _MACHINES.get(platform.machine().lower(), "")


def is_loopback(registry: str) -> bool:
    """Whether a registry host[:port] is this machine, which docker contacts by plain HTTP without being told."""
    host = registry.rsplit(":", 1)[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _push_docker(engine: Engine, reference: str, login: Login, folder: Path, emit: Emit) -> str:
    # A separate config folder hides the user's docker context, so the daemon's address is handed on.
    env = dict(engine.env)
    if "DOCKER_HOST" not in env:
        context = process.run(
            [engine.path, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], env=engine.env
        )
        if context.code == 0 and context.stdout.strip():
            env["DOCKER_HOST"] = context.stdout.strip()
    alone = Engine(engine.name, engine.path, env)
    docker = [engine.path, f"--config={folder}"]
    _log_in(alone, [*docker, "login"], login, emit)
    _run(alone, [*docker, "push", reference], f"docker push of {reference} failed", emit)
    inspect = [engine.path, "image", "inspect", "--format", "{{json .RepoDigests}}", reference]
    done = process.run(inspect, env=env)
    repository = reference.rsplit(":", 1)[0]
    try:
        recorded = [str(item) for item in json.loads(done.stdout)]
    except ValueError:
        recorded = []
    for item in recorded:
        if item.startswith(f"{repository}@"):
            return item.rsplit("@", 1)[1]
    raise ImageError(
        f"docker has no record of the digest it pushed as {reference}",
        details=tuple(done.stderr.splitlines()[-_TAIL_LINES:]),
    )


def _push_daemonless(engine: Engine, reference: str, login: Login, folder: Path, emit: Emit) -> str:
    flags = [f"--authfile={folder / 'auth.json'}"]
    if is_loopback(login.registry):
        flags.append("--tls-verify=false")
    _log_in(engine, [engine.path, "login", *flags], login, emit)
    digest_file = folder / "digest"
    argv = [engine.path, "push", *flags, f"--digestfile={digest_file}", reference, f"docker://{reference}"]
    _run(engine, argv, f"{engine.name} push of {reference} failed", emit)
    return digest_file.read_text(encoding="utf-8").strip()


def _log_in(engine: Engine, argv: list[str], login: Login, emit: Emit) -> None:
    command = [*argv, f"--username={login.username}", "--password-stdin", login.registry]
    _run(engine, command, f"{engine.name} login to {login.registry} failed", emit, stdin=login.password)


def _daemon_problem(engine: Engine) -> str:
    done = process.run([engine.path, "version", "--format", "{{.Server.Version}}"], env=engine.env)
    if done.code == 0:
        return ""
    return (done.stderr.strip() or done.stdout.strip() or "the daemon does not answer").splitlines()[-1]


def _run(
    engine: Engine,
    argv: list[str],
    failure: str,
    emit: Emit,
    *,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> None:
    tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def take(line: str) -> None:
        if line.strip():
            tail.append(line)
            emit(OutputLine(engine.name, line))

    try:
        done = process.run(argv, cwd=cwd, env=engine.env, stdin=stdin, on_stdout=take, on_stderr=take)
    except OSError as error:
        raise ToolMissingError(f"{engine.path} cannot be started: {error.strerror or error}") from error
    if done.code != 0:
        hint = ""
        if any("buildx component is missing" in line for line in tail):
            hint = "install docker-buildx, or set DOCKER_BUILDKIT=0"
        raise ImageError(f"{failure} (exit code {done.code})", hint=hint, details=tuple(tail))
