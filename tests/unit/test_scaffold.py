"""What `orch init` finds out, writes and keeps: answers, files, the fate of each file, the workflows' rules."""

from __future__ import annotations

import os
import posixpath
import re
import tomllib
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import settings
from orchestrator.errors import SettingsError
from orchestrator.operations import init
from orchestrator.scaffold import answers as answering
from orchestrator.scaffold import files, manifest, merge
from orchestrator.scaffold.answers import Answers, EnvironmentAnswer
from orchestrator.scaffold.merge import Fate
from tests.unit import test_workflows

ANSWERS = Answers(
    project="shop",
    service="web",
    region="eu-central-1",
    repository="acme@12/shop@34",
    branch="trunk",
    environments=(
        EnvironmentAnswer("dev", "111111111111"),
        EnvironmentAnswer("staging", "222222222222"),
        EnvironmentAnswer("prod", "333333333333"),
    ),
    port=3000,
    requirement="orch==1.2.3",
)
RENDERED = files.render(ANSWERS)
WORKFLOWS = {path: text for path, text in RENDERED.items() if path.startswith(".github/workflows/")}
TFVARS = "terraform/envs/dev/terraform.tfvars"


# --- what can be found out


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        ("git@github.com:acme/shop.git", "acme/shop"),
        ("https://github.com/acme/shop", "acme/shop"),
        ("https://token@github.com/acme/shop.js.git/", "acme/shop.js"),
        ("ssh://git@ghe.example.com:2222/acme/shop.git", "acme/shop"),
        ("/srv/git/shop.git", ""),
        ("../shop", ""),
        ("https://gitlab.example.com/group/sub/shop.git", ""),
        ("", ""),
    ],
)
def test_the_repository_is_read_from_a_remote(url, repository):
    assert answering.repository_of(url) == repository


@pytest.mark.parametrize(
    ("dockerfile", "port"),
    [
        ("FROM scratch\nEXPOSE 8080\n", 8080),
        ("FROM a AS b\nEXPOSE 1\nFROM c\nexpose 3000/tcp 3001\n", 3000),
        ("FROM a\nEXPOSE 1\nFROM c\n", None),
        ("FROM a\nEXPOSE $PORT\n", None),
        ("FROM a\nEXPOSE 53/udp\n", None),
        ("FROM a\nEXPOSE \\\n  80\n", 80),
        ("", None),
    ],
)
def test_the_port_is_that_of_the_last_stage(dockerfile, port):
    assert answering.exposed_port(dockerfile) == port


@given(st.text(max_size=60))
def test_any_name_of_a_folder_becomes_a_name_or_nothing(text):
    assert re.fullmatch(r"([a-z][a-z0-9-]{0,31})?", answering.as_name(text))


def test_every_wrong_answer_is_told_at_once():
    wrong = replace(
        ANSWERS, project="Shop", region="europe", port=0, environments=(EnvironmentAnswer("dev", "1"),) * 2
    )
    with pytest.raises(SettingsError) as caught:
        answering.require_valid(wrong)
    options = [line.split(":")[0] for line in caught.value.details]
    assert options == ["--project", "--region", "--account dev", "--account dev", "--environment", "--port"]


# --- the files


def test_orch_toml_is_valid_and_has_the_path(tmp_path):
    for path, text in RENDERED.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    read = settings.load(tmp_path / "orch.toml")
    assert read.path_to("prod") == ("dev", "staging", "prod")
    assert [item.is_protected for item in read.environments.values()] == [False, False, True]
    assert read.github.repository == "acme@12/shop@34"
    assert read.github.branches == ["trunk"]
    assert read.services["web"].context == "."
    for item in read.environments.values():
        assert (item.root_module / "main.tf").is_file()
    assert (read.bootstrap_module / "main.tf").is_file()


def test_every_module_that_is_called_travels_along():
    for path, text in RENDERED.items():
        for source in re.findall(r'source\s*=\s*"(\.\.?/[^"]+)"', text):
            called = posixpath.normpath(f"{path.rpartition('/')[0]}/{source}/main.tf")
            assert path.endswith(".md") or called in RENDERED, path
    assert not [path for path in RENDERED if "/tests/" in path or "/.terraform/" in path]


def test_the_environments_differ_in_what_they_should():
    texts = [RENDERED[f"terraform/envs/{item.name}/terraform.tfvars"] for item in ANSWERS.environments]
    for item, text, network in zip(
        ANSWERS.environments, texts, ("10.10.0.0/16", "10.20.0.0/16", "10.30.0.0/16"), strict=True
    ):
        assert f'account_id  = "{item.account_id}"' in text
        assert f":iam::{item.account_id}:policy/orch/shop-{item.name}/boundary" in text
        assert network in text
        assert "container_port = 3000" in text
    assert ["force_delete_repositories = true" in text for text in texts] == [True, False, False]
    assert ["egress_in_every_zone = true" in text for text in texts] == [False, False, True]
    china = files.render(replace(ANSWERS, region="cn-north-1"))
    assert "arn:aws-cn:iam::" in china[TFVARS]


def test_one_environment_alone_is_enough():
    rendered = files.render(replace(ANSWERS, environments=ANSWERS.environments[:1]))
    assert list(tomllib.loads(rendered["orch.toml"])["environments"]["dev"]) == ["account_id"]
    assert not [path for path in rendered if "promote" in path]


def test_gitignore_gets_what_is_missing_once():
    first = files.with_ignored("node_modules/\n.terraform\n")
    assert first.startswith("node_modules/\n.terraform\n\n# Terraform and orch\n*.tfplan\n")
    assert files.with_ignored(first) == first
    assert files.with_ignored("").splitlines()[1:] == list(files.IGNORED)


# --- the workflows


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_workflow_is_hardened(path):
    document = yaml.safe_load(WORKFLOWS[path])
    assert [line for line in test_workflows.problems(document) if "assumes no role" not in line] == []
    for line in WORKFLOWS[path].splitlines():
        if "- uses:" in line:
            assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_workflow_runs_one_verb_with_a_token_and_its_environment(path):
    (job,) = yaml.safe_load(WORKFLOWS[path])["jobs"].values()
    verbs = [step["run"] for step in job["steps"] if str(step.get("run", "")).startswith("orch ")]
    assert len(verbs) == 1
    assert job["permissions"]["id-token"] == "write"
    acts_on = re.search(r"--(?:env|to) (\w+)", verbs[0])
    # What changes an environment runs in it, under its reviewers and its branch rule; what reads needs none.
    assert job.get("environment") == (acts_on[1] if acts_on else None)
    if acts_on:
        concurrency = yaml.safe_load(WORKFLOWS[path])["concurrency"]
        assert concurrency == {"group": f"orch-{acts_on[1]}", "cancel-in-progress": False}
    reads_github = any(word in verbs[0] for word in ("--comment", "--issue", "promote"))
    assert ("GITHUB_TOKEN" in job["steps"][-1].get("env", {})) == reads_github


def test_only_the_first_environment_is_applied_on_a_push():
    triggers = {path: yaml.safe_load(text)[True] for path, text in WORKFLOWS.items()}
    assert {
        path.removeprefix(".github/workflows/orch-"): sorted(found) for path, found in triggers.items()
    } == {
        "apply-dev.yml": ["push", "workflow_dispatch"],
        "apply-prod.yml": ["workflow_dispatch"],
        "apply-staging.yml": ["workflow_dispatch"],
        "drift.yml": ["schedule", "workflow_dispatch"],
        "plan.yml": ["pull_request"],
        "promote-prod.yml": ["workflow_dispatch"],
        "promote-staging.yml": ["workflow_dispatch"],
        "rollback-dev.yml": ["workflow_dispatch"],
        "rollback-prod.yml": ["workflow_dispatch"],
        "rollback-staging.yml": ["workflow_dispatch"],
    }
    assert triggers[".github/workflows/orch-apply-dev.yml"]["push"] == {"branches": ["trunk"]}


# --- the fate of a file


@pytest.mark.parametrize(
    ("written", "before", "after", "fate", "text"),
    [
        (None, None, "new\n", Fate.CREATED, "new\n"),
        (None, "theirs\n", "new\n", Fate.FOREIGN, "new\n"),
        (None, "new\n", "new\n", Fate.SAME, "new\n"),
        ("old\n", None, "new\n", Fate.REMOVED, "new\n"),
        ("old\n", "old\n", "new\n", Fate.UPDATED, "new\n"),
        ("old\n", "mine\n", "old\n", Fate.KEPT, "old\n"),
        ("old\n", "mine\n", "new\n", Fate.CONFLICT, "new\n"),
        ("old\n", "new\n", "new\n", Fate.SAME, "new\n"),
        ("a\nb\nc\nd\n", "A\nb\nc\nd\n", "a\nb\nc\nD\n", Fate.MERGED, "A\nb\nc\nD\n"),
        ("a\nb\nc\nd\n", "A\nb\nc\nD", "a\nb\nc\nD", Fate.SAME, "a\nb\nc\nD"),
    ],
)
def test_the_fate_of_a_file(written, before, after, fate, text):
    change = merge.decide("f", written=written, before=before, after=after, environ=os.environ)
    assert (change.fate, change.after) == (fate, text)


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=200), max_size=4))
def test_a_manifest_is_read_as_it_was_written(texts):
    # A lone surrogate is no text that a file could hold.
    texts = {name: text for name, text in texts.items() if text.isprintable()}
    one = manifest.Manifest(ANSWERS, texts)
    assert manifest.read(manifest.text(one), ".orch.json") == one


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 1}', '{"format": 2}', '{"format": 1, "answers": {}, "files": {"a": "b"}}']
)
def test_what_is_no_manifest_is_told(text):
    with pytest.raises(SettingsError) as caught:
        manifest.read(text, ".orch.json")
    assert ".orch.json" in caught.value.message
    assert caught.value.hint


# --- the operation


def test_again_nothing_changes_and_an_upgrade_keeps_what_the_user_changed(tmp_path):
    (tmp_path / "orch.toml").write_text("# mine\n")
    first = init.survey(tmp_path, ANSWERS, os.environ)
    assert [change.path for change in first.open] == ["orch.toml"]
    init.write(init.survey(tmp_path, ANSWERS, os.environ, overwrite=["orch.toml"]))
    assert not init.survey(tmp_path, ANSWERS, os.environ).has_changes
    assert not list(tmp_path.rglob("*.orch-new"))

    tfvars = tmp_path / TFVARS
    tfvars.write_text(tfvars.read_text().replace("memory         = 512", "memory         = 1024"))
    (tmp_path / ".github/workflows/orch-drift.yml").unlink()
    kept = init.survey(tmp_path, ANSWERS, os.environ)
    assert not kept.has_changes
    assert {str(change.fate) for change in kept.changes} == {"same", "kept", "removed"}

    moved = replace(ANSWERS, port=4000, region="eu-west-1")
    upgrade = init.survey(tmp_path, moved, os.environ)
    fates = {change.path: change.fate for change in upgrade.written}
    assert fates.pop("orch.toml") is Fate.UPDATED
    assert set(fates) == {f"terraform/envs/{item.name}/terraform.tfvars" for item in ANSWERS.environments}
    init.write(upgrade)
    assert "memory         = 1024" in tfvars.read_text()
    # The next upgrade merges from what orch wrote, not from what the merge made of it.
    init.write(init.survey(tmp_path, replace(moved, region="us-east-1"), os.environ))
    assert "memory         = 1024" in tfvars.read_text()
    assert "us-east-1" in tfvars.read_text()
    assert not init.survey(tmp_path, replace(moved, region="us-east-1"), os.environ).has_changes


def test_a_conflict_leaves_the_file_and_stays_one(tmp_path):
    init.write(init.survey(tmp_path, ANSWERS, os.environ))
    tfvars = tmp_path / TFVARS
    mine = tfvars.read_text().replace("container_port = 3000", "container_port = 3001")
    tfvars.write_text(mine)
    moved = replace(ANSWERS, port=4000)
    for _ in range(2):
        found = init.survey(tmp_path, moved, os.environ)
        assert [(change.path, change.fate) for change in found.open] == [(TFVARS, Fate.CONFLICT)]
        assert "-    container_port = 3001\n+    container_port = 4000\n" in found.open[0].diff()
        init.write(found)
        assert tfvars.read_text() == mine
    init.write(init.survey(tmp_path, moved, os.environ, overwrite=[TFVARS]))
    assert "container_port = 4000" in tfvars.read_text()


def test_a_file_that_orch_does_not_write_cannot_be_overwritten(tmp_path):
    with pytest.raises(SettingsError, match="README"):
        init.survey(tmp_path, ANSWERS, os.environ, overwrite=["README.md"])
