"""Which environments a change concerns, in a real Git repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator import settings
from orchestrator.errors import PreconditionError
from orchestrator.operations import changed
from tests.conftest import require_tool

FILES = {
    "orch.toml": """project = "demo"
region = "eu-central-1"
[services.web]
context = "web"
task_definition = "overlays/web.json.j2"
[environments.dev]
account_id = "111111111111"
[environments.prod]
account_id = "333333333333"
""",
    "terraform/envs/dev/main.tf": 'module "a" {\n  source = "../../modules/a"\n}\n',
    "terraform/envs/prod/main.tf": 'module "b" {\n  source = "../../modules/b"\n}\nmodule "r" { source = "terraform-aws-modules/vpc/aws" }\n',
    "terraform/modules/a/main.tf": 'module "c" {\n  source = "../c"\n}\n',
    "terraform/modules/b/main.tf": "",
    "terraform/modules/c/main.tf": 'module "a" {\n  source = "../a"\n}\n',
    "terraform/envs/dev/terraform.tfvars": "",
    "web/Dockerfile": "FROM scratch\n",
    "overlays/web.json.j2": "{}\n",
    "docs/readme.md": "",
}


@pytest.fixture
def project(tmp_path):
    require_tool("git")
    # A project may lie below the root of its repository.
    root = tmp_path / "repo" / "app"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root.parent, "init", "-q", "-b", "main")
    git(root.parent, "add", "-A")
    git(root.parent, "commit", "-qm", "start")
    git(root.parent, "checkout", "-qb", "work")
    return root


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def chosen(root: Path, base: str = "main") -> dict[str, list[str]]:
    loaded = settings.load(root / "orch.toml")
    return {item.environment.name: list(item.reasons) for item in changed.changed(loaded, base, os.environ)}


def test_nothing_changed(project):
    assert chosen(project) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("terraform/envs/dev/terraform.tfvars", {"dev": ["root module terraform/envs/dev"]}),
        ("terraform/modules/b/main.tf", {"prod": ["module terraform/modules/b"]}),
        # A module of a module; the circle of a and c ends.
        ("terraform/modules/c/main.tf", {"dev": ["module terraform/modules/c"]}),
        ("web/Dockerfile", {"dev": ["source of web"], "prod": ["source of web"]}),
        ("overlays/web.json.j2", {"dev": ["overlay of web"], "prod": ["overlay of web"]}),
        ("docs/readme.md", {}),
        ("terraform/envs/devil/main.tf", {}),
    ],
)
@pytest.mark.parametrize("is_committed", [True, False])
def test_each_kind_of_file(project, name, expected, is_committed):
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.read_text() + "\n# changed\n" if path.exists() else "# new\n")
    if is_committed:
        git(project, "add", "-A")
        git(project, "commit", "-qm", "change")
    assert chosen(project) == expected


def test_the_settings_concern_everybody(project):
    file = project / "orch.toml"
    file.write_text(file.read_text() + "\n# changed\n")
    assert chosen(project) == {"dev": ["orch.toml"], "prod": ["orch.toml"]}


def test_what_only_the_base_changed_does_not_count(project):
    git(project, "checkout", "-q", "main")
    (project / "terraform/modules/b/main.tf").write_text("# on main\n")
    git(project, "commit", "-qam", "main goes on")
    git(project, "checkout", "-q", "work")
    assert chosen(project) == {}


def test_a_file_that_moved_away_counts(project):
    (project / "terraform/modules/b/main.tf").rename(project / "docs/b.tf")
    assert chosen(project) == {"prod": ["module terraform/modules/b"]}


def test_a_base_that_git_does_not_know_says_how_to_get_it(project):
    with pytest.raises(PreconditionError, match="no common ancestor") as refused:
        chosen(project, "origin/absent")
    assert "fetch-depth: 0" in refused.value.hint


def test_without_git_nothing_says_what_changed(tmp_path):
    (tmp_path / "orch.toml").write_text(FILES["orch.toml"])
    with pytest.raises(PreconditionError, match="is in no Git repository"):
        chosen(tmp_path)
