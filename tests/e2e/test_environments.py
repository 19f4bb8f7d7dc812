"""staging and prod, each in its own account: bootstrapped, a cancelled apply is finished by the next, plans are empty after."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

import pytest

from tests.contract.github_fake import TOKEN, GitHub, Issue
from tests.e2e import hand_made
from tests.e2e.conftest import TIMEOUT_S, Project, git

ISSUER = "token.actions.githubusercontent.com"
ACCOUNTS = {"staging": "222222222222", "prod": "333333333333"}


def apply(env: str) -> tuple[str, ...]:
    return ("apply", "--env", env, "--yes", "--sandbox")


def locks(project: Project, env: str) -> list[str]:
    account_id = ACCOUNTS[env]
    listed = project.client("s3", account_id).list_objects_v2(Bucket=f"orch-state-{account_id}-eu-central-1")
    return [item["Key"] for item in listed.get("Contents", []) if item["Key"].endswith(".tflock")]


@pytest.fixture(scope="module")
def github(project: Project):
    """A GitHub that orch.toml names; its repository is named with its ids in tokens."""
    with GitHub(subject={"use_default": True, "use_immutable_subject": True}).serving() as fake:
        text = f'[github]\nrepository = "acme/shop"\napi_url = "{fake.url}"\n\n[services.hello]'
        project.edit("orch.toml", "[services.hello]", text)
        project.build_everywhere()
        fake.pull(7, "c" * 40)
        yield fake


def bootstrap(env: str) -> tuple[str, ...]:
    return ("bootstrap", "--env", env, "--sandbox", "--yes")


def test_bootstrap_with_github_wants_a_token(project: Project, github):
    done = project.orch(*bootstrap("staging"), "--github", code=1, GH_TOKEN="")
    assert "--github needs a token in GITHUB_TOKEN or GH_TOKEN" in done.stderr
    assert github.calls == []


def test_bootstrap_refuses_a_repository_that_no_token_would_name(project: Project, github):
    done = project.orch(*bootstrap("staging"), "--github", code=2, GITHUB_TOKEN=TOKEN)
    assert "no role would let its workflows in" in done.stderr
    assert 'set repository = "acme@123456/shop@456789" in [github]' in done.stderr
    assert (
        project.client("iam", ACCOUNTS["staging"]).list_open_id_connect_providers()[
            "OpenIDConnectProviderList"
        ]
        == []
    )
    project.edit("orch.toml", '"acme/shop"', '"acme@123456/shop@456789"')


def test_bootstrap_sets_up_the_account_and_github(project: Project, github):
    done = project.orch(*bootstrap("staging"), "--github", GITHUB_TOKEN=TOKEN)
    roles = f"arn:aws:iam::{ACCOUNTS['staging']}:role/github-actions/demo-staging"
    assert "orch-state-222222222222-eu-central-1: created" in done.stdout
    assert "acme/shop is set up on GitHub" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    made = github.environments["staging"]
    assert made.patterns == [("branch", "main")]
    assert made.variables == {"ORCH_APPLY_ROLE": f"{roles}-apply", "ORCH_DEPLOY_ROLE": f"{roles}-deploy"}
    assert github.variables == {
        "ORCH_STAGING_PLAN_ROLE": f"{roles}-plan",
        "ORCH_STAGING_PUSH_ROLE": f"{roles}-push",
    }


def test_bootstrap_repeated_changes_nothing_anywhere(project: Project, github):
    before = len(github.writes())
    done = project.orch("bootstrap", "--env", "staging", "--sandbox", "--github", GITHUB_TOKEN=TOKEN)
    assert "Plan for account 222222222222: no changes" in done.stderr
    assert len(github.writes()) == before


def test_bootstrap_uses_an_identity_provider_that_somebody_else_made(project: Project, github):
    iam = project.client("iam", ACCOUNTS["prod"])
    iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=["sts.amazonaws.com"])
    done = project.orch(*bootstrap("prod"))
    assert "aws_iam_openid_connect_provider" not in done.stderr
    assert "role arn:aws:iam::333333333333:role/github-actions/demo-prod-deploy" in done.stdout
    trust = iam.get_role(RoleName="demo-prod-deploy")["Role"]["AssumeRolePolicyDocument"]
    assert trust["Statement"][0]["Condition"]["StringEquals"] == {
        f"{ISSUER}:aud": "sts.amazonaws.com",
        f"{ISSUER}:sub": "repo:acme@123456/shop@456789:environment:prod",
    }
    assert "Plan for account 333333333333: no changes" in project.orch(*bootstrap("prod")).stderr


def test_sigterm_in_the_middle_of_an_apply_leaves_nothing_behind(project: Project):
    started = project.start(*apply("staging"))
    for line in started.stderr:
        if "aws_vpc.this: create …" in line:
            break
    time.sleep(1)
    assert locks(project, "staging"), "the apply should hold the state lock now"
    started.send_signal(signal.SIGTERM)
    _out, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "interrupted during terraform apply" in err
    assert locks(project, "staging") == []
    processes = subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(project.path) not in processes
    folder = project.path / "terraform/envs/staging/.terraform/orch"
    assert list(folder.glob("plan-*")) == []
    assert list(project.path.rglob("*.tfvars.json")) == []


@pytest.fixture(scope="module")
def applied(project: Project) -> dict[str, str]:
    """What the applies of staging and prod printed, by environment. They ran side by side: the AWS provider waits a lot."""
    started = {env: project.start(*apply(env)) for env in ACCOUNTS}
    said = {env: process.communicate(timeout=TIMEOUT_S) for env, process in started.items()}
    assert {env: process.returncode for env, process in started.items()} == dict.fromkeys(ACCOUNTS, 0), said
    return {env: out for env, (out, _err) in said.items()}


@pytest.mark.parametrize("env", ["staging", "prod"])
def test_each_environment_applies_in_its_own_account(project: Project, applied, env):
    assert f"{env} · hello: SUCCEEDED" in applied[env]
    service = project.client("ecs", ACCOUNTS[env]).describe_services(
        cluster=f"demo-{env}", services=["hello"]
    )["services"][0]
    assert service["serviceArn"].split(":")[4] == ACCOUNTS[env]
    assert service["runningCount"] == service["desiredCount"] >= 2
    others = [account for account in ("111111111111", *ACCOUNTS.values()) if account != ACCOUNTS[env]]
    for account in others:
        clusters = project.client("ecs", account).list_clusters()["clusterArns"]
        assert not [arn for arn in clusters if arn.endswith(f"demo-{env}")]


def test_right_after_all_environments_are_planned_side_by_side(project: Project, applied):
    done = project.orch("plan", "--all", "--sandbox", "--detailed-exitcode", code=2)
    assert re.search(r"^Plan for dev: \d+ to create", done.stdout, flags=re.MULTILINE)
    assert "Plan for staging: no changes" in done.stdout
    assert "Plan for prod: no changes" in done.stdout
    order = re.findall(r"^Plan for (\w+):", done.stdout, flags=re.MULTILINE)
    assert order == ["dev", "staging", "prod"]
    assert "▸ prod: terraform plan" in done.stderr


def test_ctrl_c_ends_every_plan_and_leaves_no_lock(project: Project):
    started = project.start("plan", "--all", "--sandbox")
    begun = 0
    for line in started.stderr:
        begun += line.startswith("▸") and line.rstrip().endswith(": terraform plan")
        if begun == 2:
            break
    time.sleep(1)
    started.send_signal(signal.SIGINT)
    _out, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "interrupted while planning" in err
    assert [locks(project, env) for env in ACCOUNTS] == [[], []]
    processes = subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(project.path) not in processes


def test_all_and_one_do_not_go_together(project: Project):
    for arguments in (
        ("plan",),
        ("plan", "--all", "--env", "dev"),
        ("plan", "--env", "dev", "--changed", "main"),
    ):
        assert (
            "name one environment with --env, or all of them with --all"
            in project.orch(*arguments, code=2).stderr
        )


def actions(github: GitHub, folder, *, fork: bool = False) -> dict[str, str]:
    """The variables that a workflow run on a pull request has."""
    event = {
        "pull_request": {
            "number": 7,
            "head": {"sha": "c" * 40, "repo": {"full_name": "eve/shop" if fork else "acme/shop"}},
            "base": {"sha": "b" * 40, "repo": {"full_name": "acme/shop"}},
        }
    }
    (folder / "event.json").write_text(json.dumps(event))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_API_URL": github.url,
        "GITHUB_RUN_ID": "99",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_TOKEN": TOKEN,
    }


def drift_issues(github: GitHub) -> list[Issue]:
    return [issue for issue in github.issues.values() if not issue.is_pull_request]


def test_drift_is_told_apart_from_what_the_checkout_changes_and_has_its_own_exit_code(
    project: Project, github, tmp_path
):
    environ = actions(github, tmp_path)
    drift = ("drift", "--env", "staging", "--sandbox", "--issue")
    logs = project.client("logs", ACCOUNTS["staging"])
    names = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    (name,) = [name for name in names if "hello" in name]
    before = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["retentionInDays"]
    logs.put_retention_policy(logGroupName=name, retentionInDays=3653)
    project.orch(*drift, code=2, **environ)
    done = project.orch(*drift, code=2, **environ)
    assert done.stdout.splitlines()[0] == "Drift of staging: 1 changed outside Terraform"
    assert "aws_cloudwatch_log_group" in done.stdout
    assert "the next apply reverts it" in done.stdout
    assert f"retention_in_days: {before} → 3653" in done.stdout
    (issue,) = drift_issues(github)
    assert (issue.title, issue.state) == ("staging was changed outside Terraform", "open")
    assert f"retention_in_days: {before} → 3653" in issue.body
    project.orch(*apply("staging"))
    now = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["retentionInDays"]
    assert now == before
    assert project.orch(*drift, **environ).stdout == "Drift of staging: none\n"
    (issue,) = drift_issues(github)
    assert issue.state == "closed"


# --- what is the same for every root module; these only tell of what the real ones made


@pytest.fixture(scope="module")
def told(project: Project, applied) -> None:
    """Of staging and prod; dev, which is to be made, stays as it is."""
    for env, account_id in ACCOUNTS.items():
        hand_made.tell(project, env, account_id)


def test_one_environment_that_fails_hides_no_other(project: Project, told):
    broken = project.path / "terraform/envs/prod/broken.tf"
    broken.write_text('resource "terraform_no_such_thing" "x" {}\n')
    file = project.path / "terraform/envs/staging/main.tf"
    file.write_text(file.read_text() + "\n")
    done = project.orch("plan", "--all", "--changed", "HEAD", "--sandbox", code=1)
    broken.unlink()
    assert "Plan for staging: no changes" in done.stdout
    assert "chosen for: root module terraform/envs/staging" in done.stdout
    assert "No plan for prod: terraform plan failed" in done.stdout
    assert "terraform_no_such_thing" in done.stdout
    assert "dev" not in done.stdout.replace("deviat", "")


def bodies(github: GitHub) -> list[str]:
    return [comment.body for comment in github.comments.values()]


def running_digest(project: Project, env: str) -> str:
    """The first digits of the digest that the environment's service runs, as the comment shows them."""
    ecs = project.client("ecs", ACCOUNTS[env])
    service = ecs.describe_services(cluster=f"demo-{env}", services=["hello"])["services"][0]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    return definition["containerDefinitions"][0]["image"].partition("@sha256:")[2][:8]


def test_one_comment_tells_of_all_plans_and_is_edited_by_the_next_run(
    project: Project, told, github, tmp_path
):
    environ = actions(github, tmp_path)
    done = project.orch("plan", "--all", "--sandbox", "--comment", **environ)
    assert "GitHub was not told" not in done.stderr
    (body,) = bodies(github)
    assert body.startswith("<!-- orch:v")
    assert [row for row in ("**dev**", "**staging**", "**prod**") if row in body] == [
        "**dev**",
        "**staging**",
        "**prod**",
    ]
    assert "aws_ecs_cluster" in body
    # The commit is a later one than that which was applied.
    head = git(project.path, "rev-parse", "HEAD")[:12]
    (row,) = [line for line in body.splitlines() if "**staging** |" in line]
    assert f"| hello `{running_digest(project, 'staging')}`\u00a0→ `{head}`, to be built |" in row
    assert "**staging**" in (tmp_path / "summary.md").read_text()
    assert TOKEN not in body + done.stdout + done.stderr
    project.orch("plan", "--env", "staging", "--sandbox", "--comment", **environ)
    (again,) = bodies(github)
    assert "**dev**" in again


def test_the_comment_goes_on_living_with_the_apply(project: Project, told, github, tmp_path):
    project.orch(*apply("staging"), "--comment", **actions(github, tmp_path))
    (body,) = bodies(github)
    (row,) = [line for line in body.splitlines() if "**staging** |" in line]
    assert "rolled out: SUCCEEDED" in row
    assert "**dev**" in body


def test_a_github_that_fails_never_fails_a_plan(project: Project, told, github, tmp_path):
    environ = actions(github, tmp_path) | {"GITHUB_TOKEN": "ghs_expired"}
    done = project.orch("plan", "--env", "staging", "--sandbox", "--comment", **environ)
    assert "! GitHub was not told: " in done.stderr
    assert "ghs_expired" not in done.stderr
    assert done.stdout == "Plan for staging: no changes\n"


def test_a_pull_request_from_a_fork_is_skipped_and_told_why(project: Project, told, github, tmp_path):
    before = len(github.calls)
    done = project.orch("plan", "--all", "--sandbox", "--comment", **actions(github, tmp_path, fork=True))
    assert "comes from a fork" in done.stderr
    assert "terraform plan" not in done.stderr
    assert "comes from a fork" in (tmp_path / "summary.md").read_text()
    assert len(github.calls) == before


BAD_SERVICES = """services = {
  this-name-is-longer-than-we-allow-it = { container_port = 8080 }
  crowded = { cpu = 256, memory = 4096 }
  leaky   = { environment = { DATABASE_PASSWORD = "hunter2-canary" } }
  keyed   = { environment = { SETTINGS = "AKIAIOSFODNN7EXAMPLE" } }
"""


def refused_plan(project: Project) -> str:
    """What a plan of dev that Terraform refuses says, as one line."""
    done = project.orch("plan", "--env", "dev", "--sandbox", code=1)
    assert "hunter2-canary" not in done.stdout + done.stderr
    assert "AKIAIOSFODNN7EXAMPLE" not in done.stdout + done.stderr
    assert "terraform plan failed in" in done.stderr
    return " ".join(done.stderr.split())


def test_bad_input_is_stopped_at_plan_with_what_to_do(project: Project, told):
    tfvars = "terraform/envs/dev/terraform.tfvars"
    project.edit(tfvars, "services = {", BAD_SERVICES)
    # Terraform checks nothing else that mentions the name before the name is right.
    assert (
        'The service name "this-name-is-longer-than-we-allow-it" is too long or has a wrong character: it must have'
        " 2 to 32 lower-case letters" in refused_plan(project)
    )
    project.edit(tfvars, "this-name-is-longer-than-we-allow-it", "fine")
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(project.path)}
    done = project.orch("plan", "--all", "--sandbox", code=1, **environ)
    # One annotation for each error, on the line of the pull request that it is about.
    marks = re.findall(r"^::error file=(.+),line=\d+,title=(.+)::(.+)$", done.stderr, re.MULTILINE)
    assert {file for file, _title, _text in marks} == {"terraform/modules/environment/main.tf"}
    assert "Service crowded: Fargate does not offer" in " ".join(text for _file, _title, text in marks)
    assert "hunter2-canary" not in done.stdout + done.stderr
    assert "AKIAIOSFODNN7EXAMPLE" not in done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "No plan for dev: terraform plan failed" in said
    for expected in (
        "Service crowded: Fargate does not offer 4096 MiB with 256 CPU units. Choose a memory it offers with",
        "Service leaky: environment gives a literal value to DATABASE_PASSWORD",
        "Store the value in Secrets Manager or SSM, and put its ARN under that name in secrets",
        "Service keyed: environment holds what looks like a secret: SETTINGS",
    ):
        assert expected in said
