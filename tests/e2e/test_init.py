"""`orch init` in an empty repository with a Dockerfile, then `orch apply --sandbox`: unedited."""

from __future__ import annotations

import shutil
from dataclasses import replace

from tests.e2e.conftest import REPOSITORY, git


def test_what_init_writes_is_applied_unedited(project):
    folder = project.path.parent / "fresh"
    folder.mkdir()
    for name in ("Dockerfile", "hello"):
        shutil.copy2(REPOSITORY / "examples/hello" / name, folder / name)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", "git@github.com:acme/fresh.git")
    fresh = replace(project, path=folder)
    accounts = ("--account", "dev=111111111111", "--account", "prod=333333333333")
    missing = fresh.orch("init", *accounts, code=2)
    assert "nothing tells --region" in missing.stderr
    fresh.orch("init", "--region", "eu-central-1", *accounts, "--yes")
    fresh.commit("What orch init wrote")
    fresh.orch("init", "--check")
    assert "dev · fresh: SUCCEEDED" in fresh.orch("apply", "--env", "dev", "--sandbox", "--yes").stdout
    assert git(folder, "status", "--porcelain") == ""
