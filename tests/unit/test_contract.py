from __future__ import annotations

import copy

import pytest

from orchestrator.errors import ContractError
from orchestrator.terraform import contract

SERVICE = {
    "repository_url": "111111111111.dkr.ecr.eu-central-1.amazonaws.com/demo-dev/web",
    "cluster": "demo-dev",
    "service": "web",
    "container": "web",
    "skeleton_arn": "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web:1",
    "task_family": "demo-dev-web",
    "log_group": "/ecs/demo-dev/web",
    "execution_role_arn": "arn:aws:iam::111111111111:role/demo-dev-web-execution",
    "task_role_arn": "arn:aws:iam::111111111111:role/demo-dev-web-task",
    "desired_count": 2,
}
ORCH = {"contract": 1, "account_id": "111111111111", "region": "eu-central-1", "services": {"web": SERVICE}}


def test_a_complete_output_is_decoded():
    decoded = contract.decode({"orch": ORCH, "url": "https://x"}, root_module="envs/dev")
    assert decoded.account_id == "111111111111"
    assert decoded.services[0].name == "web"
    assert decoded.services[0].desired_count == 2
    assert decoded.outputs["url"] == "https://x"


@pytest.mark.parametrize("field", sorted(SERVICE))
def test_each_missing_field_is_named_with_its_module(field):
    broken = copy.deepcopy(ORCH)
    del broken["services"]["web"][field]
    with pytest.raises(ContractError) as caught:
        contract.decode({"orch": broken}, root_module="envs/dev")
    assert caught.value.details == (f"services.web.{field}: is missing",)
    assert "envs/dev" in caught.value.message
    assert "outputs.tf" in caught.value.hint


def test_all_faults_are_reported_at_once():
    broken = {**ORCH, "region": 7, "services": {"web": {**SERVICE, "cluster": "", "desired_count": "two"}}}
    with pytest.raises(ContractError) as caught:
        contract.decode({"orch": broken}, root_module="envs/dev")
    assert [detail.split(":")[0] for detail in caught.value.details] == [
        "region",
        "services.web.cluster",
        "services.web.desired_count",
    ]


@pytest.mark.parametrize("outputs", [{}, {"orch": None}, {"orch": "text"}, {"orch": {**ORCH, "contract": 2}}])
def test_no_contract_or_another_version_is_refused(outputs):
    with pytest.raises(ContractError) as caught:
        contract.decode(outputs, root_module="envs/dev")
    assert caught.value.hint


def test_no_services_is_a_fault():
    with pytest.raises(ContractError) as caught:
        contract.decode({"orch": {**ORCH, "services": {}}}, root_module="envs/dev")
    assert "services: must be an object with at least one service" in caught.value.details


BLUE_GREEN = {
    "alternate_target_group_arn": "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup/web-2/b",
    "production_listener_rule_arn": "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener-rule/app/demo-dev/a/b/c",
    "test_listener_rule_arn": None,
    "infrastructure_role_arn": "arn:aws:iam::111111111111:role/demo-dev-web-infrastructure",
}


def test_a_service_may_tell_what_its_traffic_is_shifted_with():
    told = copy.deepcopy(ORCH)
    told["services"] |= {
        "api": {**SERVICE, "blue_green": None},
        "web": {**SERVICE, "blue_green": BLUE_GREEN},
        "www": {**SERVICE, "blue_green": {**BLUE_GREEN, "test_listener_rule_arn": "arn:test"}},
    }
    api, web, www = contract.decode({"orch": told}, root_module="envs/dev").services
    assert api.blue_green is None
    assert web.blue_green is not None
    assert vars(web.blue_green) == BLUE_GREEN
    assert www.blue_green is not None
    assert www.blue_green.test_listener_rule_arn == "arn:test"


def test_what_is_wrong_with_it_is_named():
    told = copy.deepcopy(ORCH)
    told["services"] = {
        "api": {**SERVICE, "blue_green": "yes"},
        "web": {**SERVICE, "blue_green": {**BLUE_GREEN, "alternate_target_group_arn": 7}},
        "www": {**SERVICE, "blue_green": {"test_listener_rule_arn": ""}},
    }
    with pytest.raises(ContractError) as caught:
        contract.decode({"orch": told}, root_module="envs/dev")
    assert caught.value.details == (
        "services.api.blue_green: must be an object or null, not 'yes'",
        "services.web.blue_green.alternate_target_group_arn: must be a string, not 7",
        "services.www.blue_green.alternate_target_group_arn: is missing",
        "services.www.blue_green.production_listener_rule_arn: is missing",
        "services.www.blue_green.infrastructure_role_arn: is missing",
        "services.www.blue_green.test_listener_rule_arn: must be a string, not ''",
    )
