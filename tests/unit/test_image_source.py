from __future__ import annotations

import os
import subprocess

import pytest

from orchestrator.errors import ImageError, ToolMissingError
from orchestrator.image import source

ENVIRON = dict(os.environ)


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    context = tmp_path / "app"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\n")
    (context / ".gitignore").write_text("built\n")
    (tmp_path / "README").write_text("x")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def identify(repository):
    return source.identify(repository / "app", ENVIRON)


def test_a_clean_context_is_its_commit(repository):
    found = identify(repository)
    assert len(found.commit) == 40
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert found.tag == found.commit == head.stdout.strip()


def test_changes_outside_the_context_and_ignored_files_do_not_count(repository):
    (repository / "README").write_text("changed")
    (repository / "app/built").write_text("binary")
    assert identify(repository).dirty_hash == ""


@pytest.mark.parametrize("change", ["edit", "add", "delete", "mode", "stage"])
def test_each_change_in_the_context_makes_another_tag(repository, change):
    clean = identify(repository)
    dockerfile = repository / "app/Dockerfile"
    if change == "edit":
        dockerfile.write_text("FROM scratch\nUSER 1\n")
    elif change == "add":
        (repository / "app/new file\nwith newline").write_text("x")
    elif change == "delete":
        dockerfile.unlink()
    elif change == "mode":
        dockerfile.chmod(0o755)
    else:
        (repository / "app/staged").write_text("x")
        git(repository, "add", ".")
    dirty = identify(repository)
    assert dirty.commit == clean.commit
    assert dirty.tag.startswith(f"{clean.commit}-dirty-")
    assert identify(repository) == dirty


def test_the_same_content_gives_the_same_tag(repository):
    (repository / "app/Dockerfile").write_text("one")
    one = identify(repository)
    (repository / "app/Dockerfile").write_text("two")
    assert identify(repository) != one
    (repository / "app/Dockerfile").write_text("one")
    assert identify(repository) == one


def test_a_git_dir_of_somebody_else_is_ignored(repository, tmp_path):
    environ = ENVIRON | {"GIT_DIR": str(tmp_path / "elsewhere")}
    assert source.identify(repository / "app", environ) == identify(repository)


def test_no_repository_and_no_context_say_what_to_do(tmp_path):
    environ = ENVIRON | {"GIT_CEILING_DIRECTORIES": "/"}
    (tmp_path / "app").mkdir()
    with pytest.raises(ImageError) as caught:
        source.identify(tmp_path / "app", environ)
    assert "--image" in caught.value.hint
    with pytest.raises(ImageError, match="does not exist"):
        source.identify(tmp_path / "absent", environ)


def test_without_git(tmp_path):
    with pytest.raises(ToolMissingError, match="git is not on PATH"):
        source.identify(tmp_path, {"PATH": str(tmp_path)})
