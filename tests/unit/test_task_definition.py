from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ecs import task_definition
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.errors import ContractError, SettingsError
from orchestrator.model import Image

IMAGE = Image("registry.example/demo/web", "sha256:" + "a" * 64)
DESCRIPTION = {
    "taskDefinitionArn": "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo:3",
    "revision": 3,
    "status": "ACTIVE",
    "registeredBy": "somebody",
    "requiresAttributes": [{"name": "x"}],
    "compatibilities": ["EC2", "FARGATE"],
    "family": "demo",
    "cpu": "256",
    "memory": "512",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "containerDefinitions": [
        {
            "name": "web",
            "image": "registry.example/demo/web:skeleton",
            "cpu": 0,
            "essential": True,
            "portMappings": [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}],
            "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": ""}],
            "mountPoints": [],
        },
        {"name": "sidecar", "image": "registry.example/sidecar@sha256:" + "b" * 64},
    ],
}
SKELETON = task_definition.from_description(DESCRIPTION)


def rendered(**overlay) -> TaskDefinition:
    return task_definition.render(SKELETON, container="web", image=IMAGE, overlay=overlay)


def container(definition: TaskDefinition, name: str) -> dict:
    return next(item for item in definition.request["containerDefinitions"] if item["name"] == name)


def test_read_only_members_are_dropped():
    assert set(SKELETON.request) == {
        "family",
        "cpu",
        "memory",
        "networkMode",
        "requiresCompatibilities",
        "containerDefinitions",
    }


def test_only_the_named_container_gets_the_image():
    definition = rendered()
    assert definition.image_of("web") == str(IMAGE) == f"registry.example/demo/web@sha256:{'a' * 64}"
    assert definition.image_of("sidecar").startswith("registry.example/sidecar@")
    assert SKELETON.image_of("web") == "registry.example/demo/web:skeleton"


def test_an_overlay_merges_by_name_and_null_removes():
    definition = rendered(
        cpu="512",
        containerDefinitions=[
            {"name": "web", "environment": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
            {"name": "new", "image": "other"},
        ],
        memory=None,
    )
    assert definition.request["cpu"] == "512"
    assert "memory" not in definition.request
    values = {item["name"]: item["value"] for item in container(definition, "web")["environment"]}
    assert values == {"A": "", "B": "3", "C": "4"}
    assert [item["name"] for item in definition.request["containerDefinitions"]] == ["web", "sidecar", "new"]


def test_an_overlay_changes_neither_image_nor_family():
    definition = rendered(family="other", containerDefinitions=[{"name": "web", "image": "moved:latest"}])
    assert definition.family == "demo"
    assert definition.image_of("web") == str(IMAGE)


def test_a_missing_container_names_those_there_are():
    with pytest.raises(ContractError, match="no container `api`, only: web, sidecar"):
        task_definition.render(SKELETON, container="api", image=IMAGE, overlay={})


def test_defaults_and_empty_members_do_not_count():
    bare = json.loads(json.dumps(SKELETON.request))
    web = bare["containerDefinitions"][0]
    del web["cpu"], web["essential"], web["mountPoints"]
    web["portMappings"] = [{"containerPort": 8080}]
    assert task_definition.is_equal(SKELETON, TaskDefinition(bare))


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "512"},
        {"containerDefinitions": [{"name": "web", "environment": [{"name": "A", "value": "x"}]}]},
        {"containerDefinitions": [{"name": "web", "essential": False}]},
        {
            "containerDefinitions": [
                {"name": "web", "portMappings": [{"containerPort": 8080, "protocol": "udp"}]}
            ]
        },
        {"containerDefinitions": [{"name": "web", "command": ["a", "b"]}]},
    ],
)
def test_what_changes_the_task_counts(change):
    assert not task_definition.is_equal(rendered(), rendered(**change))


def test_the_order_of_a_command_counts():
    one = rendered(containerDefinitions=[{"name": "web", "command": ["a", "b"]}])
    other = rendered(containerDefinitions=[{"name": "web", "command": ["b", "a"]}])
    assert not task_definition.is_equal(one, other)


@given(st.randoms(use_true_random=False))
def test_the_order_of_sets_never_counts(shuffler: random.Random):
    shuffled = json.loads(json.dumps(rendered().request))
    for item in shuffled["containerDefinitions"]:
        shuffler.shuffle(item.setdefault("environment", []))
    shuffler.shuffle(shuffled["containerDefinitions"])
    assert task_definition.is_equal(rendered(), TaskDefinition(shuffled))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_canonical_survives_what_json_may_hold(labels):
    definition = rendered(containerDefinitions=[{"name": "web", "dockerLabels": labels}])
    again = TaskDefinition(json.loads(json.dumps(definition.request)))
    assert task_definition.canonical(definition) == task_definition.canonical(again)


def overlay(template: str, **context) -> dict:
    return task_definition.render_overlay(template, name="web.json.j2", context=context)


def test_a_template_sees_its_context():
    text = '{"containerDefinitions": [{"name": "web", "environment": [{"name": "U", "value": {{ outputs.url | tojson }}}]}]}'
    result = overlay(text, outputs={"url": 'https://x/"y"'})
    assert result["containerDefinitions"][0]["environment"][0]["value"] == 'https://x/"y"'


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ('{"cpu": "{{ outputs.cpux }}"}', "cpux"),
        ('{"cpu": {{ outputs.cpux | tojson }}}', "cpux"),
        ('{"cpu": "{{ nothing }}"}', "nothing"),
        ('{\n"cpu": {{ outputs.\n}', "web.json.j2, line"),
        ('{"cpu": 1,}', "does not render to JSON"),
        ("[1]", "must render to a JSON object"),
        ('{"cpuu": "1"}', "what no task definition has: cpuu"),
        ("{{ outputs.__class__.__mro__ }}", "web.json.j2"),
    ],
)
def test_a_faulty_template_says_where(template, says):
    with pytest.raises(SettingsError) as caught:
        overlay(template, outputs={"cpu": "1"})
    assert says in caught.value.message
    assert caught.value.exit_code == 2


def test_an_overlay_item_without_a_name_is_refused():
    with pytest.raises(SettingsError, match="needs `name`"):
        rendered(containerDefinitions=[{"image": "x"}])
