"""`orch deploy`, `watch`, `status`, `history` and `diff`: two environments that are there, and what each verb does and tells.

Stopped, forced and foreign rollouts on a clock that need not be waited for: tests/contract/test_watch.py.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from orchestrator.sandbox import control
from tests.e2e import hand_made
from tests.e2e.conftest import TIMEOUT_S, Project, events

SANDBOX = ("--env", "dev", "--sandbox")
FREEZE = """
[[environments.dev.gates.freeze]]
name = "stocktaking"
start = 2020-01-01
end = 2999-12-31
"""


class Elsewhere:
    """The same sandbox, seen from the account of staging."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def client(self, service: str):
        return self._project.client(service, "222222222222")


@pytest.fixture(scope="module")
def story(project: Project) -> Project:
    """dev with hello and worker, staging with hello alone; each released once. prod was never applied."""
    project.build_everywhere()
    hand_made.make(project, "hello", "worker")
    root = project.path / "terraform/envs/staging"
    for file in (*root.glob("*.tf*"), root / ".terraform.lock.hcl"):
        file.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as there:
        there.setattr(hand_made, "CLUSTER", "demo-staging")
        Elsewhere(project).client("ecs").create_cluster(clusterName="demo-staging")
        told = hand_made._make(Elsewhere(project), "hello")
    text = hand_made.ROOT.format(account="222222222222", region=hand_made.REGION, services=told)
    (root / "main.tf").write_text(text.replace("dev/terraform.tfstate", "staging/terraform.tfstate"))
    overlay(project)
    # staging builds its own images here.
    text = (project.path / "orch.toml").read_text()
    (project.path / "orch.toml").write_text(re.sub(r"(?m)^promotes_from = .*\n", "", text))
    project.commit("Two environments")
    for env in ("dev", "staging"):
        project.orch("apply", "--env", env, "--sandbox", "--yes")
    return project


def overlay(project: Project, **environment: str) -> None:
    """Gives hello's container environment variables, through the overlay on its task definition."""
    listed = [{"name": name, "value": value} for name, value in environment.items()]
    text = json.dumps({"containerDefinitions": [{"name": "hello", "environment": listed}]})
    (project.path / "overlay.json.j2").write_text(text)
    orch_toml = (project.path / "orch.toml").read_text()
    if "overlay.json.j2" not in orch_toml:
        line = '[services.hello]\ntask_definition = "overlay.json.j2"'
        (project.path / "orch.toml").write_text(orch_toml.replace("[services.hello]", line))


def our_calls(project: Project, since: int) -> list[str]:
    """The AWS calls that orch itself made, without Terraform's."""
    listed = control.control(project.sandbox, "GET", "calls")["calls"][since:]
    return [
        f"{call['service']}:{call['operation']}"
        for call in listed
        if "app/orch" in call["user_agent"] and "HashiCorp" not in call["user_agent"]
    ]


def changes(calls: list[str]) -> set[str]:
    return {call for call in calls if not re.match(r"\w+:(Describe|Get|List|Head|BatchGet)", call)}


def running(project: Project, name: str = "hello") -> str:
    answer = project.client("ecs").describe_services(cluster=hand_made.CLUSTER, services=[name])
    revision: str = answer["services"][0]["taskDefinition"]
    return revision.rsplit("/", 1)[1]


def rows(text: str) -> dict[tuple[str, str], list[str]]:
    """The rows of the board, by environment and service."""
    split = [re.split(r"  +", line) for line in text.splitlines() if line[0] != " "]
    return {(row[0], row[1]): row[2:] for row in split[1:] if len(row) > 2}


# --- nothing has changed


def test_a_deploy_of_an_unchanged_service_costs_four_calls_and_changes_nothing(story):
    before = len(story.calls())
    done = story.orch("deploy", *SANDBOX, "--service", "hello")
    assert "dev · hello: NO_CHANGE" in done.stdout
    made = our_calls(story, before)
    assert sorted(made) == [
        "ecs:DescribeServices",
        "ecs:DescribeTaskDefinition",
        "ecs:DescribeTaskDefinition",
        "sts:GetCallerIdentity",
    ]


def test_of_several_services_one_call_asks_for_all(story):
    before = len(story.calls())
    found = events(story.orch("deploy", *SANDBOX, "--output", "json"))
    verdicts = {one["service"]: one["verdict"] for one in found if one["type"] == "released"}
    assert verdicts == {"hello": "NO_CHANGE", "worker": "NO_CHANGE"}
    made = our_calls(story, before)
    assert made.count("ecs:DescribeServices") == 1
    assert len(made) == 6
    assert changes(made) == set()


def test_nothing_to_deploy_needs_no_lock_and_nothing_to_diff(story):
    story.orch("lock", *SANDBOX, "--reason", "moving house")
    assert "NO_CHANGE" in story.orch("deploy", *SANDBOX).stdout
    done = story.orch("diff", *SANDBOX, "--detailed-exitcode")
    assert done.stdout.splitlines() == [
        f"hello: nothing to deploy  ({running(story)} → this checkout)",
        f"worker: nothing to deploy  ({running(story, 'worker')} → this checkout)",
    ]
    overlay(story, CHANGED="1")
    refused = story.orch("deploy", *SANDBOX, code=22)
    assert "moving house" in refused.stderr
    overlay(story)
    story.orch("unlock", *SANDBOX)


# --- something has


def test_diff_says_what_deploy_then_does_and_to_which_service_alone(story):
    overlay(story, GREETING="canary-value")
    said = story.orch("diff", *SANDBOX, "--detailed-exitcode", code=2)
    assert said.stdout.splitlines()[:3] == [
        f"hello: a deploy would roll this out  ({running(story)} → this checkout)",
        "  ~ container hello: environment GREETING: added",
        f"worker: nothing to deploy  ({running(story, 'worker')} → this checkout)",
    ]
    assert "canary-value" not in story.orch("diff", *SANDBOX, "-o", "json").stdout + said.stderr
    worker, before = running(story, "worker"), len(story.calls())
    done = story.orch("deploy", *SANDBOX)
    assert "dev · hello: SUCCEEDED" in done.stdout
    assert "dev · worker: NO_CHANGE" in done.stdout
    assert running(story, "worker") == worker
    made = our_calls(story, before)
    assert (made.count("ecs:RegisterTaskDefinition"), made.count("ecs:UpdateService")) == (1, 1)
    # The environment's lock was held, and given back.
    assert {"s3:PutObject", "s3:DeleteObject"} <= set(made)
    assert "terraform plan" not in done.stderr
    assert "nothing to deploy" in story.orch("diff", *SANDBOX, "--service", "hello").stdout


def test_a_forced_deploy_starts_new_tasks_of_the_same_revision(story):
    revision, before = running(story), len(story.calls())
    done = story.orch("deploy", *SANDBOX, "--service", "hello", "--force")
    assert "dev · hello: SUCCEEDED" in done.stdout
    assert running(story) == revision
    made = our_calls(story, before)
    assert (made.count("ecs:RegisterTaskDefinition"), made.count("ecs:UpdateService")) == (0, 1)


def test_a_new_commit_is_told_by_its_tag_until_it_is_built(story):
    commit = story.commit_nothing("Another commit")
    said = story.orch("diff", *SANDBOX, "--service", "worker").stdout
    assert "worker: a deploy would roll this out, once its image is built" in said
    assert re.search(rf"container worker: image: sha256:\w+… → {commit}\n", said)
    image = re.search(r"\S+/worker@sha256:[0-9a-f]{64}", story.orch("deploy", *SANDBOX).stdout)[0]
    assert "SUCCEEDED" in story.orch("history", *SANDBOX, "--service", "worker").stdout
    # Given by its digest, an image that runs is no change, whatever the checkout is.
    story.commit_nothing("One more")
    given = ("--service", "worker", "--image", image)
    assert "NO_CHANGE" in story.orch("deploy", *SANDBOX, *given).stdout
    assert "nothing to deploy" in story.orch("diff", *SANDBOX, *given).stdout


def test_a_freeze_holds_for_a_deploy_too(story):
    text = (story.path / "orch.toml").read_text()
    (story.path / "orch.toml").write_text(text + FREEZE)
    refused = story.orch("deploy", *SANDBOX, code=20)
    assert "freeze: stocktaking until" in refused.stderr
    opened = story.orch("deploy", *SANDBOX, "--override", "freeze", "--reason", "the fix", "-o", "json")
    (story.path / "orch.toml").write_text(text)
    released = [one for one in events(opened) if one["type"] == "released"]
    assert {one["verdict"] for one in released} == {"SUCCEEDED"}
    assert released[0]["overrides"] == [{"rule": "freeze", "reason": "the fix"}]


# --- watch


@contextmanager
def a_deploy_under_way(project: Project):
    """A deploy of hello that has come to its rollout."""
    started = project.start("deploy", *SANDBOX, "--service", "hello")
    try:
        assert any("IN_PROGRESS" in line for line in started.stderr), "it never came so far"
        yield started
    finally:
        started.kill()
        started.communicate()


def test_a_watch_concludes_what_a_killed_deploy_began(story):
    overlay(story, ORCH_SANDBOX_BEHAVIOUR="slow:60")
    with a_deploy_under_way(story):
        """Is killed."""
    board = rows(story.orch("status", *SANDBOX).stdout)
    assert board["dev", "hello"][3] == "rolling out"
    watching = story.start("watch", *SANDBOX)
    # It is watched, not only looked up.
    assert any("IN_PROGRESS" in line for line in watching.stderr)
    control.control(story.sandbox, "POST", "clock", {"advance": 60})
    said, _err = watching.communicate(timeout=TIMEOUT_S)
    assert watching.returncode == 0
    assert "dev · hello: SUCCEEDED" in said
    assert "dev · worker: no rollout is under way" in said
    (newest,) = events(story.orch("history", *SANDBOX, "--limit", "1", "-o", "json"))
    assert (newest["release"]["verdict"], newest["release"]["service"]) == ("SUCCEEDED", "hello")
    assert newest["release"]["revision_arn"].endswith(running(story))
    tags = story.client("ecs").describe_task_definition(taskDefinition=running(story), include=["TAGS"])[
        "tags"
    ]
    named = {tag["key"]: tag["value"] for tag in tags}
    assert named["orch:release"] == newest["release"]["id"]
    assert "orch:released-at" in named
    # What was left is done: the next deploy has nothing to do, and a second watch nothing to record.
    again = story.orch("watch", *SANDBOX, "--service", "hello")
    assert again.stdout.startswith("dev · hello: no rollout is under way\n  last      SUCCEEDED")
    assert "NO_CHANGE" in story.orch("deploy", *SANDBOX, "--service", "hello").stdout


def test_a_watch_of_a_release_that_fails_has_its_exit_code(story):
    # The dead run's lock would be waited for.
    story.orch("unlock", *SANDBOX, "--force", "--yes")
    overlay(story, ORCH_SANDBOX_BEHAVIOUR="cannot-pull")
    text = (story.path / "orch.toml").read_text()
    (story.path / "orch.toml").write_text(text + "\n[rollout]\nfail_fast = false\n")
    with a_deploy_under_way(story) as started:
        done = story.orch("watch", *SANDBOX, "--output", "json", code=10)
        # The run was alive all the time: both tell the same.
        said, _ = started.communicate(timeout=60)
    (story.path / "orch.toml").write_text(text)
    assert "dev · hello: ROLLED_BACK" in said
    assert started.returncode == 10
    told = {one["service"]: one for one in events(done) if one["type"] == "watched"}
    assert told["hello"]["release"]["verdict"] == "ROLLED_BACK"
    assert told["worker"]["rollout"] is None
    # And it is one release on record.
    newest = events(story.orch("history", *SANDBOX, "--limit", "2", "-o", "json"))
    assert [one["release"]["verdict"] for one in newest] == ["ROLLED_BACK", "SUCCEEDED"]


# --- status and history


def test_the_board_shows_every_environment_and_one_that_fails_hides_no_other(story):
    done = story.orch("status", "--sandbox")
    found = rows(done.stdout)
    assert list(found) == [("dev", "hello"), ("dev", "worker"), ("staging", "hello")]
    number, _digest, commit, state, age, tasks, verdict = found["dev", "hello"]
    assert (number, state, tasks) == (running(story).rpartition(":")[2], "released", "1/1")
    assert re.fullmatch(r"[0-9a-f]{8}", commit)
    assert re.fullmatch(r"\d+ (s|min)", age)
    assert verdict == "ROLLED_BACK"
    assert re.search(r"! last release ROLLED_BACK \d+ s ago: .*circuit breaker", done.stdout)
    assert "prod: not applied" in done.stdout.splitlines()
    file = story.path / "terraform/envs/staging/main.tf"
    good = file.read_text()
    file.write_text(good + "\nnonsense {\n}\n")
    broken = story.orch("status", "--sandbox", "-o", "json", code=1)
    file.write_text(good)
    told = events(broken)
    assert [one["service"] for one in told if one["type"] == "service_status"] == ["hello", "worker"]
    assert [one["exit_code"] for one in told if one["type"] == "error"] == [1]


def test_the_board_shows_locks_and_counts_that_terraform_did_not_give(story):
    story.orch("lock", *SANDBOX, "--reason", "moving house")
    story.orch("scale", *SANDBOX, "--service", "worker", "2")
    said = story.orch("status", *SANDBOX).stdout
    assert rows(said)["dev", "worker"][5] == "2/2"
    assert "    ! desired count 2, in Terraform 1" in said.splitlines()
    assert re.search(r"! locked: orch lock of .*moving house", said)
    shown = events(story.orch("status", *SANDBOX, "-o", "json"))
    worker = next(one for one in shown if one.get("service") == "worker")
    assert (worker["desired_count"], worker["declared_count"]) == (2, 1)
    assert [one["reason"] for one in shown if one["type"] == "lock"] == ["moving house"]
    story.orch("scale", *SANDBOX, "--service", "worker", "1")
    story.orch("unlock", *SANDBOX)


def test_status_of_one_asks_ecs_once_for_all_services(story):
    before = len(story.calls())
    story.orch("status", *SANDBOX)
    made = our_calls(story, before)
    assert made.count("ecs:DescribeServices") == 1
    assert made.count("ecs:DescribeTaskDefinition") == 2
    assert changes(made) == set()


def test_destroy_wants_the_name(story):
    done = story.orch("destroy", *SANDBOX, code=1)
    assert "Plan for dev: " in done.stderr
    assert "--confirm dev" in done.stderr
    assert "nothing was changed" in story.orch("destroy", *SANDBOX, "--confirm", "prod", code=1).stderr
    assert len(story.client("ecs").list_services(cluster=hand_made.CLUSTER)["serviceArns"]) == 2
    assert rows(story.orch("status", *SANDBOX).stdout).keys() == {("dev", "hello"), ("dev", "worker")}


def test_exit_code_tells_what_is_not_as_it_should_be(story):
    story.orch("status", *SANDBOX, "--exit-code")
    ecs = story.client("ecs")
    ecs.delete_service(cluster=hand_made.CLUSTER, service="worker", force=True)
    time.sleep(1)
    done = story.orch("status", *SANDBOX, "--exit-code", code=1)
    assert rows(done.stdout)["dev", "worker"][3] == "no such service"


def test_the_history_is_the_newest_first_by_service_and_in_another_environment_another(story):
    said = story.orch("history", *SANDBOX).stdout.splitlines()
    assert said[0].split()[:2] == ["began", "(UTC)"]
    began = [line[:16] for line in said[1:]]
    assert began == sorted(began, reverse=True)
    assert len(said) > 6
    found = events(story.orch("history", *SANDBOX, "--service", "worker", "-o", "json"))
    assert {one["release"]["service"] for one in found} == {"worker"}
    assert len(story.orch("history", *SANDBOX, "--limit", "3").stdout.splitlines()) == 4
    (only,) = events(story.orch("history", "--env", "staging", "--sandbox", "-o", "json"))
    assert only["release"]["environment"] == "staging"
    assert "no release on record" in story.orch("history", "--env", "prod", "--sandbox").stdout
    every = story.orch("history", "--sandbox", "--limit", "99").stdout.splitlines()
    assert every[0].startswith("environment  began (UTC)")
    assert {line.split()[0] for line in every[1:]} >= {"dev"}


# --- two environments


def test_two_environments_side_by_side(story):
    done = story.orch("diff", "--env", "dev", "--env", "staging", "--sandbox", "--detailed-exitcode", code=2)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"hello: they differ  (dev {running(story)} → staging demo-staging-hello:")
    assert any(re.match(r"  ~ image: sha256:\w+… → sha256:\w+…", line) for line in lines)
    assert any(re.match(r"  ~ commit: \w+ → \w+", line) for line in lines)
    assert "  ~ container hello: environment ORCH_SANDBOX_BEHAVIOUR: removed" in lines
    # Names that say where they are, roles and log groups among them, are no difference.
    assert not [line for line in lines if "Role" in line or "awslogs" in line or "family" in line]
    same = story.orch("diff", "--env", "dev", "--env", "staging", "--sandbox", "--service", "absent", code=1)
    assert "neither environment has a service `absent`" in same.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("diff", "--env", "dev", "--env", "dev"), "--env is given once"),
        (("diff", "--env", "dev", "--env", "staging", "--env", "prod"), "--env is given once"),
        (("diff", "--env", "dev", "--env", "qa"), "there is no environment `qa`"),
        (
            ("deploy", "--env", "dev", "--service", "hello", "--image", "worker=r/w@sha256:1"),
            "`worker` is not among",
        ),
        (("deploy", "--env", "dev", "--override", "frost", "--reason", "x"), "there is no such rule"),
    ],
)
def test_wrong_usage_is_told(story, arguments, said):
    assert said in story.orch(*arguments, "--sandbox", code=2).stderr


def test_a_service_that_is_not_there_is_told(story):
    for verb in ("deploy", "watch"):
        refused = story.orch(verb, *SANDBOX, "--service", "absent", code=1)
        assert "there is no service `absent`" in refused.stderr


# --- in the end


def is_back(release: dict) -> bool:
    number, before = (
        int(one["revision_arn"].rpartition(":")[2]) if one else 0 for one in (release, release["replaced"])
    )
    return number < before


def test_a_rollback_is_on_record_as_one(story):
    before = running(story)
    story.orch("rollback", *SANDBOX, "--service", "hello")
    said = story.orch("history", *SANDBOX, "--limit", "1").stdout
    assert said.rstrip().endswith("rollback")
    (newest,) = events(story.orch("history", *SANDBOX, "--limit", "1", "-o", "json"))
    assert newest["release"]["replaced"]["revision_arn"].endswith(before)
    # Tests before this one have pushed the sandbox's time on.
    (dev,) = events(
        story.orch("metrics", *SANDBOX, "--service", "hello", "--until", "2999-01-01", "-o", "json")
    )
    assert (dev["rollbacks"], dev["failed_changes"] >= 1) == (1, True)


def test_one_release_is_shown_with_what_it_replaced_and_all_are_measured(story):
    found = events(story.orch("history", *SANDBOX, "--service", "hello", "-o", "json"))
    *later, first = (one["release"] for one in found)
    assert first["replaced"] is None
    assert any(one["replaced"] for one in later)
    for one, before in zip(later, [*later[1:], first], strict=True):
        # One that was only watched to its end need not know.
        if before["verdict"] == "SUCCEEDED" and one["replaced"] is not None:
            assert one["replaced"]["revision_arn"] == before["revision_arn"]
            assert one["replaced"]["digest"] == before["image"]["digest"]
    assert all(one["committed_at"] for one in (*later, first) if one["commit"])
    newest = found[0]["release"]
    shown = story.orch("release", "show", newest["id"].rpartition("-")[2], "--sandbox").stdout
    assert shown.startswith(f"dev · hello: {newest['verdict']}")
    assert f"({newest['id']})\n  began " in shown
    measured = events(story.orch("metrics", "--sandbox", "--service", "hello", "-o", "json"))
    by_name = {one["environment"]: one for one in measured}
    forward = (one for one in (*later, first) if not is_back(one))
    count = Counter(one["verdict"] for one in forward)
    assert by_name["dev"]["deployments"] == count["SUCCEEDED"]
    assert by_name["dev"]["changes"] == count["SUCCEEDED"] + count["ROLLED_BACK"]
    assert by_name["prod"]["change_failure_rate"] is None
