"""What `orch bootstrap` hands to Terraform and to GitHub, from orch.toml alone."""

from __future__ import annotations

import json

import pytest

from orchestrator import settings
from orchestrator.github import by_hand
from orchestrator.operations import bootstrap

FILE = """
project = "demo"
region = "eu-central-1"

[github]
repository = "acme@12/demo@34"
branches = ["main", "release"]

[services.web]
[services.worker]

[environments.dev]
account_id = "111111111111"

[environments.dev-eu]
account_id = "111111111111"

[environments.far]
account_id = "111111111111"
region = "us-east-1"

[environments.prod]
account_id = "333333333333"
protected = true
trusted_accounts = ["444444444444"]

[environments.next]
account_id = "555555555555"
promotes_from = "prod"
"""


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "orch.toml").write_text(FILE)
    return settings.load(tmp_path / "orch.toml")


def test_environments_of_one_place_share_a_bootstrap(loaded):
    names = {
        name: [item.name for item in bootstrap.neighbours(loaded, environment)]
        for name, environment in loaded.environments.items()
    }
    assert names == {
        "dev": ["dev", "dev-eu"],
        "dev-eu": ["dev", "dev-eu"],
        "far": ["far"],
        "prod": ["prod"],
        "next": ["next"],
    }


def test_terraform_gets_what_orch_toml_says(loaded):
    values = bootstrap.variables(loaded, loaded.environment("prod"), create_provider=False)
    assert json.loads(values.pop("TF_VAR_environments")) == {
        "prod": {
            "services": ["web", "worker"],
            "protected": True,
            "trusted_accounts": ["444444444444"],
            "promotes_to": ["next"],
        }
    }
    assert values == {
        "TF_VAR_project": "demo",
        "TF_VAR_account_id": "333333333333",
        "TF_VAR_region": "eu-central-1",
        "TF_VAR_partition": "aws",
        "TF_VAR_state_bucket": "orch-state-333333333333-eu-central-1",
        "TF_VAR_repository": "acme@12/demo@34",
        "TF_VAR_push_branches": '["main", "release"]',
        "TF_VAR_job_workflow_refs": "[]",
        "TF_VAR_create_provider": "false",
    }


def test_github_gets_each_role_where_its_workflows_read_it(loaded):
    wanted = bootstrap.wanted_on_github(loaded, bootstrap.neighbours(loaded, loaded.environment("dev")))
    roles = "arn:aws:iam::111111111111:role/github-actions/demo"
    assert wanted.variables == {
        "ORCH_DEV_PLAN_ROLE": f"{roles}-dev-plan",
        "ORCH_DEV_PUSH_ROLE": f"{roles}-dev-push",
        "ORCH_DEV_EU_PLAN_ROLE": f"{roles}-dev-eu-plan",
        "ORCH_DEV_EU_PUSH_ROLE": f"{roles}-dev-eu-push",
    }
    assert [(item.name, item.branches) for item in wanted.environments] == [
        ("dev", ("main", "release")),
        ("dev-eu", ("main", "release")),
    ]
    assert wanted.environments[1].variables == {
        "ORCH_APPLY_ROLE": f"{roles}-dev-eu-apply",
        "ORCH_DEPLOY_ROLE": f"{roles}-dev-eu-deploy",
    }


def test_the_commands_by_hand_protect_an_environment_before_they_fill_it(loaded):
    wanted = bootstrap.wanted_on_github(loaded, bootstrap.neighbours(loaded, loaded.environment("prod")))
    said = by_hand.commands(loaded.github.full_name, wanted)
    assert [line.split(" -")[0] for line in said[:1]] == ["gh api"]
    assert said[0].startswith("gh api -X PUT repos/acme/demo/environments/prod -F 'deployment_branch_policy")
    assert (
        said[1] == "gh api -X POST repos/acme/demo/environments/prod/deployment-branch-policies -f name=main"
    )
    assert (
        "gh variable set ORCH_APPLY_ROLE --repo acme/demo --env prod --body arn:aws:iam::333333333333"
        in said[3]
    )
    assert said[-1].startswith("gh variable set ORCH_PROD_PUSH_ROLE --repo acme/demo --body arn:aws:iam")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('repository = "acme/*"', "github.repository: must be one repository"),
        ('repository = "acme@12/demo"', "github.repository: must be one repository"),
        ('repository = "acme/demo"\nbranches = ["release/*"]', "must be the exact name of a branch"),
        ('repository = "acme/demo"\nbranches = []', "github.branches"),
        (
            'repository = "acme/demo"\njob_workflow_refs = ["acme/ci"]',
            "must be OWNER/REPOSITORY/.github/workflows",
        ),
    ],
)
def test_nothing_loose_is_taken_from_orch_toml(tmp_path, line, problem):
    text = FILE.replace('repository = "acme@12/demo@34"\nbranches = ["main", "release"]', line)
    (tmp_path / "orch.toml").write_text(text)
    with pytest.raises(settings.SettingsError) as refused:
        settings.load(tmp_path / "orch.toml")
    assert problem in refused.value.details[0]


def test_a_repository_has_a_plain_name_for_the_api():
    for written in ("acme/demo", "acme@12/demo@34"):
        assert settings.GitHubSettings(repository=written).full_name == "acme/demo"
