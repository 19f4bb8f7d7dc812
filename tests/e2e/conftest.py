"""The command `orch` as a subprocess, in a project of its own, against a sandbox of its own: one of each a test module.

A project is a copy of this repository's orch.toml, terraform/ and example, committed to a new Git repository, so that tests
may break it as they like.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from orchestrator.sandbox import control
from tests.conftest import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
ORCH = Path(sys.executable).parent / "orch"
TASK_SECONDS = 0.3
TIMEOUT_S = 300


@dataclass
class Project:
    """A project folder, the sandbox it ships to, and the environment that commands get."""

    path: Path
    sandbox: control.Sandbox | None
    environ: dict[str, str]
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def orch(self, *arguments: str, code: int | None = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs orch to its end; with `code` its exit code is asserted."""
        done = subprocess.run(
            [ORCH, *arguments],
            cwd=self.path,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        shown = f"orch {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        # What a program wrote into its log stands behind a bar.
        assert not re.search(r"(?m)^Traceback", shown), shown
        assert code is None or done.returncode == code, shown
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [ORCH, *arguments],
            cwd=self.path,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def client(self, service: str, account_id: str = "111111111111") -> Any:
        known = (service, account_id)
        if known not in self.clients:
            self.clients[known] = boto3.client(
                service,
                region_name="eu-central-1",
                endpoint_url=self.sandbox.endpoint_url,
                aws_access_key_id=account_id,
                aws_secret_access_key="any",
            )
        return self.clients[known]

    def aws_environ(self, env: str) -> dict[str, str]:
        """What `orch sandbox env` tells a shell."""
        lines = self.orch("sandbox", "env", "--env", env).stdout.splitlines()
        return self.environ | dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def calls(self) -> list[str]:
        """The AWS API calls the sandbox got, oldest first, e.g. `ecs:UpdateService`."""
        listed = control.control(self.sandbox, "GET", "calls")["calls"]
        return [f"{call['service']}:{call['operation']}" for call in listed if "operation" in call]

    def commit(self, message: str) -> str:
        git(self.path, "add", "-A")
        git(self.path, "commit", "-qm", message)
        return git(self.path, "rev-parse", "HEAD")

    def commit_nothing(self, message: str) -> str:
        """A commit that changes no file."""
        git(self.path, "commit", "-qm", message, "--allow-empty")
        return git(self.path, "rev-parse", "HEAD")

    def parent(self, commit: str) -> str:
        return git(self.path, "rev-parse", f"{commit}^")

    def build_everywhere(self) -> None:
        """Lets each environment build its own images: without the path of promotions that orch.toml names."""
        file = self.path / "orch.toml"
        file.write_text(re.sub(r"(?m)^promotes_from = .*\n", "", file.read_text()))

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.path / name
        text = file.read_text()
        assert old in text, f"{old!r} is not in {name}"
        file.write_text(text.replace(old, new))


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_project(folder: Path, sandbox: control.Sandbox | None, state_dir: Path) -> Project:
    require_tool("git")
    for name in ("orch.toml", "terraform", "examples"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(".terraform"))
        else:
            shutil.copy2(source, folder / name)
    shutil.copy2(REPOSITORY / ".gitignore", folder / ".gitignore")
    git(folder, "init", "-q", "-b", "main")
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ORCH_", "GITHUB_"))
    }
    environ = kept | {
        "ORCH_SANDBOX_DIR": str(state_dir),
        "XDG_STATE_HOME": str(folder.parent / "state"),
    }
    project = Project(folder, sandbox, environ)
    project.commit("A service")
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A committed project beside a running sandbox."""
    require_tool("terraform")
    base = tmp_path_factory.mktemp("e2e")
    state_dir = base / "sandbox"
    sandbox = control.start(state_dir, port=0, task_seconds=TASK_SECONDS)
    try:
        folder = base / "project"
        folder.mkdir()
        made = make_project(folder, sandbox, state_dir)
        yield made
        for client in made.clients.values():
            client.close()
    finally:
        control.stop(state_dir)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The events of a run with `--output json`."""
    return [json.loads(line) for line in done.stdout.splitlines()]
