"""`orch continue`: a canary that pauses in one process, and goes on or back by the word of another.

The stages, bake times and verdicts of staged rollouts are held by tests/contract/test_rollout_strategies.py.
"""

from __future__ import annotations

import json

import pytest

from tests.e2e import hand_made
from tests.e2e.conftest import Project, events

SANDBOX = ("--env", "dev", "--sandbox")
STRATEGY = """
[environments.dev.strategy.hello]
type = "canary"
canary_bake_time_minutes = 0
bake_time_minutes = 0
pause_at = ["POST_TEST_TRAFFIC_SHIFT"]
"""
BLUE_GREEN = """
        blue_green = {{
          alternate_target_group_arn   = "{other}"
          production_listener_rule_arn = "{rule}"
          test_listener_rule_arn       = null
          infrastructure_role_arn      = "{role}"
        }}
        desired_count      = 1"""


@pytest.fixture(scope="module")
def story(project: Project) -> Project:
    """hello behind a load balancer with two target groups, released once; from then on a canary that pauses."""
    hand_made.make(project, "hello")
    shifting = shift_with(project)
    project.edit(
        "terraform/envs/dev/main.tf", "        desired_count      = 1", BLUE_GREEN.format(**shifting)
    )
    project.commit("What traffic is shifted with")
    project.orch("apply", *SANDBOX, "--yes")
    file = project.path / "orch.toml"
    file.write_text(file.read_text() + STRATEGY)
    return project


def shift_with(project: Project) -> dict[str, str]:
    """A load balancer whose rule forwards to two target groups, one of them the service's, and the role that moves its weights."""
    elbv2, ec2 = project.client("elbv2"), project.client("ec2")
    subnets = ec2.describe_subnets()["Subnets"][:2]
    (balancer,) = elbv2.create_load_balancer(Name="demo-dev", Subnets=[one["SubnetId"] for one in subnets])[
        "LoadBalancers"
    ]
    own, other = (
        elbv2.create_target_group(
            Name=name, Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"], TargetType="ip"
        )["TargetGroups"][0]["TargetGroupArn"]
        for name in ("hello-a", "hello-b")
    )
    (listener,) = elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )["Listeners"]
    weights = [{"TargetGroupArn": own, "Weight": 100}, {"TargetGroupArn": other, "Weight": 0}]
    (rule,) = elbv2.create_rule(
        ListenerArn=listener["ListenerArn"],
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
    )["Rules"]
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = project.client("iam").create_role(
        RoleName="demo-dev-hello-traffic", AssumeRolePolicyDocument=json.dumps(trust)
    )["Role"]["Arn"]
    balancers = [{"targetGroupArn": own, "containerName": "hello", "containerPort": 80}]
    project.client("ecs").update_service(cluster=hand_made.CLUSTER, service="hello", loadBalancers=balancers)
    return {"other": other, "rule": rule["RuleArn"], "role": role}


class Deploying:
    """`orch deploy` in a process of its own, which waits at a pause once this is made."""

    def __init__(self, project: Project, *more: str) -> None:
        self._process = project.start("deploy", *SANDBOX, "--force", *more)
        self._errors: list[str] = []
        for line in self._process.stderr:
            self._errors.append(line)
            if "with --rollback it takes the release back" in line:
                return
        raise AssertionError("".join(self._errors))

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it wrote."""
        # Not by communicate(), which knows nothing of what was read ahead.
        with self._process.stderr as errors, self._process.stdout as output:
            self._errors += errors
            out = output.read()
        return self._process.wait(timeout=60), out, "".join(self._errors)


def test_nothing_paused_is_an_error_that_says_so(story):
    done = story.orch("continue", *SANDBOX, "--yes", code=1)
    assert "no rollout of hello in `dev` is paused: there is nothing to continue" in done.stderr
    assert "orch watch --env dev" in done.stderr


def test_verify_and_diff_name_the_strategy(story):
    done = story.orch("verify", *SANDBOX)
    assert "CANARY, 5% for 0 min, pauses at POST_TEST_TRAFFIC_SHIFT; so far ROLLING" in done.stdout
    for check in ("alternate target group", "production listener rule", "infrastructure role"):
        assert f"✓ OK    {check}" in done.stdout
    done = story.orch("diff", *SANDBOX)
    assert "strategy" in done.stdout
    assert "nothing to deploy" in done.stdout


def test_a_canary_pauses_and_another_process_lets_it_go_on(story):
    deploying = Deploying(story)
    done = story.orch("continue", *SANDBOX, "--service", "hello", "--yes", "--detach", "--output", "json")
    code, out, said = deploying.end()
    assert code == 0, said
    assert "dev · hello: SUCCEEDED" in out
    assert "strategy  CANARY, 5% for 0 min, pauses at POST_TEST_TRAFFIC_SHIFT" in out
    assert "! hello is paused at POST_TEST_TRAFFIC_SHIFT until" in said
    assert (
        "orch continue --env dev --service hello goes on; with --rollback it takes the release back" in said
    )
    assert "hello CANARY: POST_TEST_TRAFFIC_SHIFT, 0% of the traffic" in said
    assert "dev · hello: paused at POST_TEST_TRAFFIC_SHIFT since" in done.stderr
    assert "then ECS rolls it back" in done.stderr
    (pause,) = [one for one in events(done) if one["type"] == "pause"]
    assert (pause["service"], pause["stage"]) == ("hello", "POST_TEST_TRAFFIC_SHIFT")
    records = story.orch("history", *SANDBOX, "--output", "json")
    releases = [json.loads(line) for line in records.stdout.splitlines()]
    assert [one for one in releases if "CANARY" in json.dumps(one)], records.stdout


def test_or_takes_it_back(story):
    before = story.client("ecs").describe_services(cluster=hand_made.CLUSTER, services=["hello"])
    deploying = Deploying(story, "--output", "json")
    asked = story.orch("continue", *SANDBOX, code=1)
    assert "there is no terminal to ask for approval on: Continue?" in asked.stderr
    # What was asked for is exit code 0 here, and 10 where the release was made.
    done = story.orch("continue", *SANDBOX, "--rollback", "--yes")
    code, out, said = deploying.end()
    assert code == 10, said
    told = [json.loads(line) for line in out.splitlines()]
    (paused,) = [one for one in told if one["type"] == "rollout_paused"]
    assert (paused["service"], paused["stage"], paused["timeout_action"]) == (
        "hello",
        "POST_TEST_TRAFFIC_SHIFT",
        "ROLLBACK",
    )
    assert paused["command"] == "orch continue --env dev --service hello"
    assert {one["strategy"] for one in told if one["type"] == "stage_entered"} == {"CANARY"}
    (released,) = [one for one in told if one["type"] == "released"]
    assert released["verdict"] == "ROLLED_BACK"
    assert "ROLLED_BACK" in done.stdout
    after = story.client("ecs").describe_services(cluster=hand_made.CLUSTER, services=["hello"])
    assert after["services"][0]["taskDefinition"] == before["services"][0]["taskDefinition"]
