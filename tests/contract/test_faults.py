"""Rollouts through a network that spoils three requests in ten: the verdict is the right one all the same."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from orchestrator.aws import Aws
from orchestrator.ecs import revisions
from orchestrator.errors import AwsError
from orchestrator.model import Verdict
from tests.conftest import IS_SOAK
from tests.contract.faults import spoiled
from tests.contract.test_rollouts import Story

pytest_plugins = ("tests.contract.sandbox_fixtures",)
# Thirty by `make soak`.
RUNS = 30 if IS_SOAK else 9
ENDS = {"": Verdict.SUCCEEDED, "crash": Verdict.ROLLED_BACK, "slow:20": Verdict.SUCCEEDED}


@pytest.fixture
def no_backoff(monkeypatch):
    """botocore waits between its attempts; what it does then is not the point here."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _s: None, time=time.time))


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_run_with_thirty_percent_of_faults_ends_with_the_right_verdict(cloud, tmp_path, no_backoff, seed):
    story = Story(cloud, tmp_path)
    story.serve("api")
    behaviour = list(ENDS)[seed % len(ENDS)]
    with spoiled(cloud.sandbox.endpoint_url, seed=seed, share=0.3) as (url, faults):
        environ = story.session.environ | {"AWS_ENDPOINT_URL": url}
        clear, story.session = story.session, Aws(story.session.region, environ)
        (done,) = roll_out(story, behaviour)
        story.session = clear
    assert done.verdict is ENDS[behaviour], (done, faults.done)
    assert sum(faults.done.values()) - faults.done["fine"] >= 3
    running = story.running("api")
    assert (running.primary.rollout_state, running.running) == ("COMPLETED", 1)
    is_ours = running.task_definition == done.revision_arn
    assert is_ours is (done.verdict is Verdict.SUCCEEDED)


def roll_out(story, behaviour):
    """As `orch deploy` would be run again by a person after it could not even begin."""
    for _attempt in range(5):
        try:
            return story.run(story.candidate("api", behaviour))
        except AwsError:
            continue
    raise AssertionError("it never began")


def test_a_revision_whose_answer_was_lost_is_not_registered_twice(cloud, tmp_path, no_backoff):
    story = Story(cloud, tmp_path)
    story.serve("api")
    wanted = story.candidate("api").wanted
    for seed in range(40 if IS_SOAK else 12):
        with spoiled(cloud.sandbox.endpoint_url, seed=seed, share=0.5) as (url, faults):
            session = Aws(story.session.region, story.session.environ | {"AWS_ENDPOINT_URL": url})
            before = list(revisions.newest_first(cloud.ecs, "api"))
            made = revisions.register(session, wanted, {"orch:release": f"r{seed}"}, sleep=lambda _s: None)
        after = list(revisions.newest_first(cloud.ecs, "api"))
        assert len(after) == len(before) + 1, (seed, faults.done)
        assert made.arn == after[0]
