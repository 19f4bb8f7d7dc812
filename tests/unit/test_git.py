"""What is asked of Git, of real repositories."""

from __future__ import annotations

import os
import subprocess

import pytest

from orchestrator import git


@pytest.fixture
def checkout(tmp_path):
    """A clone with three commits on main and one on a branch, and their hashes in that order."""
    origin = tmp_path / "origin"
    origin.mkdir()
    run(origin, "init", "-q", "-b", "main")
    commits = [commit(origin, title) for title in ("one", "two: a b", "three")]
    run(origin, "switch", "-qc", "feature", commits[1])
    commits.append(commit(origin, "aside"))
    run(origin, "switch", "-q", "main")
    run(tmp_path, "clone", "-q", str(origin), "clone")
    return tmp_path / "clone", commits


def run(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder, title):
    run(folder, "commit", "-qm", title, "--allow-empty")
    return run(folder, "rev-parse", "HEAD")


def test_which_branches_hold_a_commit(checkout):
    folder, (_one, two, three, aside) = checkout
    asked = ("main", "feature", "nowhere")
    assert git.branches_with(two, asked, folder, os.environ) == {"main": True, "feature": True}
    assert git.branches_with(three, asked, folder, os.environ) == {"main": True, "feature": False}
    assert git.branches_with(aside, asked, folder, os.environ) == {"main": False, "feature": True}


def test_what_origin_had_counts_and_not_what_was_committed_here(checkout):
    folder, _commits = checkout
    here = commit(folder, "not pushed")
    assert git.branches_with(here, ("main",), folder, os.environ) == {"main": False}
    run(folder, "remote", "remove", "origin")
    assert git.branches_with(here, ("main",), folder, os.environ) == {"main": True}


def test_the_commits_between_two_with_their_titles(checkout):
    folder, (one, two, three, aside) = checkout
    found = git.commits_between(one, three, folder, os.environ, limit=9)
    assert found == (git.Commit(three, "three"), git.Commit(two, "two: a b"))
    assert git.commits_between(three, one, folder, os.environ, limit=9) == ()
    assert git.commits_between(three, aside, folder, os.environ, limit=9) == (git.Commit(aside, "aside"),)
    assert git.commits_between(one, three, folder, os.environ, limit=1) == (git.Commit(three, "three"),)


def test_a_commit_that_this_checkout_does_not_have(checkout):
    folder, (one, *_rest) = checkout
    assert git.has_commit(one, folder, os.environ)
    assert not git.has_commit("c0ffee" * 6 + "abcd", folder, os.environ)
    assert not git.has_commit("--help", folder, os.environ)
    assert git.branches_with("--help", ("main",), folder, os.environ) == {}
    assert git.commits_between(one, "c0ffee" * 6 + "abcd", folder, os.environ, limit=9) is None


def test_titles_of_those_that_are_there(checkout):
    folder, (one, two, *_rest) = checkout
    found = git.titles([two, one, "c0ffee" * 6 + "abcd"], folder, os.environ)
    assert found == {one: "one", two: "two: a b"}
