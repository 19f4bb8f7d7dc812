"""operations/definitions: what differs between two task definitions, in words; and what never shows."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ecs import task_definition
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.model import Masked, ServiceDifference
from orchestrator.operations.definitions import details_between
from orchestrator.report import json_lines, text

DIGEST = "sha256:" + "a" * 64


def definition(container=None, **more):
    web = {"name": "web", "image": f"r.example/web@{DIGEST}", "essential": True, **(container or {})}
    return TaskDefinition(
        {"family": "demo-dev-web", "cpu": "256", "memory": "512", "containerDefinitions": [web], **more}
    )


def lines(before, after, environ=None):
    return [text.detail_line(detail) for detail in details_between(before, after, environ or {})]


def variables(**values):
    return [{"name": name, "value": value} for name, value in values.items()]


def test_the_same_in_other_words_is_no_difference():
    spelt = definition(
        {"cpu": 0, "environment": [], "portMappings": [{"containerPort": 80, "protocol": "tcp"}]}
    )
    short = definition({"portMappings": [{"containerPort": 80, "hostPort": 80}]}, volumes=[])
    assert details_between(spelt, short, {}) == ()


def test_each_thing_that_differs_is_named_once():
    before = definition(
        {
            "environment": variables(A="1", B="2", GONE="x"),
            "secrets": [{"name": "KEY", "valueFrom": "arn:old"}],
            "portMappings": [{"containerPort": 80}],
            "command": ["serve"],
        }
    )
    after = definition(
        {
            "image": f"r.example/web@sha256:{'b' * 64}",
            "environment": variables(B="3", A="1", NEW="y"),
            "secrets": [{"name": "KEY", "valueFrom": "arn:new"}],
            "portMappings": [{"containerPort": 8080}],
            "command": ["serve", "--fast"],
            "memoryReservation": 64,
        },
        cpu="512",
        runtimePlatform={"cpuArchitecture": "ARM64"},
    )
    assert lines(before, after) == [
        f"container web: image: {DIGEST[:19]}… → sha256:{'b' * 12}…",
        "container web: memoryReservation: + 64",
        "container web: ports: 80/tcp → 8080/tcp",
        "container web: environment B: another value",
        "container web: environment NEW: added",
        "container web: environment GONE: removed",
        "container web: secret KEY: arn:old → arn:new",
        "container web: command: serve → serve, --fast",
        "cpu: 256 → 512",
        "runtimePlatform.cpuArchitecture: + ARM64",
    ]


def test_no_value_of_a_variable_and_no_secret_argument_comes_out():
    canaries = (
        "canary-one-1f4b",
        "canary-two-77aa",
        "canary-three-0c3d",
        "canary-four-5e6f",
        "canary-five-11",
    )
    before = definition(
        {
            "environment": variables(DSN=canaries[0], OLD=canaries[1]),
            "command": ["x", "--password", canaries[3]],
        }
    )
    after = definition(
        {
            "environment": variables(DSN=canaries[2]),
            "command": ["x", "--password", "other-thing-9"],
            "dockerLabels": {"note": f"with {canaries[4]} in it"},
        }
    )
    found = details_between(before, after, {"APP_TOKEN": canaries[4]})
    difference = ServiceDifference("web", "a", "b", "c", is_change=True, details=found)
    shown = "\n".join([*map(text.detail_line, found), json_lines.value_line(difference), repr(found)])
    assert not [canary for canary in canaries if canary in shown]
    assert "container web: environment DSN: another value" in shown
    assert "container web: command" in shown
    assert json.loads(json_lines.value_line(difference))["details"][0]["before"] == "(sensitive)"


def test_what_means_nothing_but_makes_a_new_revision_is_told_all_the_same():
    (detail,) = details_between(definition(), definition(networkMode=""), {})
    assert (detail.before, detail.after) == (Masked.ABSENT, Masked.ABSENT)
    assert "empty value" in text.detail_line(detail)


VALUES = st.one_of(st.none(), st.text(max_size=3), st.integers(0, 3), st.booleans())
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("ab"), "image": st.sampled_from(["x", "y"])},
        optional={
            "cpu": st.integers(0, 2),
            "essential": st.booleans(),
            "environment": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from("AB"), "value": st.sampled_from("12")}),
                max_size=2,
                unique_by=lambda item: item["name"],
            ),
            "command": st.lists(st.sampled_from(["x", "y"]), max_size=3),
            "portMappings": st.lists(
                st.fixed_dictionaries(
                    {"containerPort": st.sampled_from([80, 81])},
                    optional={
                        "protocol": st.sampled_from(["tcp", "udp"]),
                        "hostPort": st.sampled_from([80, 0]),
                    },
                ),
                max_size=2,
            ),
            "mountPoints": st.lists(
                st.fixed_dictionaries({"containerPath": st.sampled_from("pq"), "readOnly": st.booleans()}),
                max_size=2,
            ),
            "dockerLabels": st.dictionaries(st.sampled_from("lm"), st.text(max_size=2), max_size=2),
            "workingDirectory": st.sampled_from(["", "/a"]),
        },
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda item: item["name"],
)
DEFINITIONS = st.builds(
    lambda containers, more: TaskDefinition({"family": "f", "containerDefinitions": containers, **more}),
    CONTAINERS,
    st.dictionaries(st.sampled_from(["cpu", "memory", "networkMode", "pidMode"]), VALUES, max_size=2),
)


@given(DEFINITIONS, DEFINITIONS)
def test_there_is_a_difference_exactly_when_a_deploy_would_register_a_revision(one, other):
    found = details_between(one, other, {})
    assert bool(found) == (not task_definition.is_equal(one, other))
    for detail in found:
        text.detail_line(detail)
