"""`orch doctor` against the sandbox and a GitHub that keeps state: everything in order, then one planted fault a test.

Planted in this machine and the project
    1  no Terraform               2  a Terraform that is too old     3  no image engine       4  a mirror that holds no provider
    5  no way to the registry     6  a Dockerfile that is not there  7  a clock ten minutes ahead
in the account
    8  no credentials             9  credentials of another account  10  another region in the shell
    11  no state bucket           12  versioning suspended           13  public access not blocked
    14  a bucket policy without its denials                          15  no encryption by KMS, no lifecycle, ACLs
    16  a bucket in another region                                   17  a bucket of another account
    18  no identity provider      19  a provider for another audience
    20  a role that is not there  21  a trust in the other of GitHub's two forms
    22  a trust of another environment                               23  a trust with a wildcard
    24  a registry that does not answer
on GitHub
    25  a token that is not valid 26  a repository whose tokens carry ids, and orch.toml does not
    27  no environment            28  an environment open to any branch
    29  a variable with another value                                30  a variable that is not there
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.awsrequest import AWSResponse

from orchestrator import settings as orch_settings
from orchestrator.aws import Aws
from orchestrator.events import Steps
from orchestrator.github import api, repository, trust
from orchestrator.operations import bootstrap, doctor, doctor_aws, doctor_github, doctor_machine
from orchestrator.operations.plan_all import Ready
from orchestrator.permissions import Role
from orchestrator.sandbox import control
from tests.contract.github_fake import TOKEN, GitHub

pytest_plugins = ("tests.contract.sandbox_fixtures",)

ACCOUNT, REGION = "111111111111", "eu-central-1"
BUCKET = f"orch-state-{ACCOUNT}-{REGION}"
OWNER = {"Bucket": BUCKET, "ExpectedBucketOwner": ACCOUNT}
PROVIDER = trust.provider_arn(ACCOUNT, REGION)
SUBJECT = "acme/shop"
FILE = """
project = "demo"
region = "eu-central-1"

[image]
engine = "podman"

[github]
repository = "acme/shop"
api_url = "{api_url}"

[services.web]

[environments.dev]
account_id = "111111111111"
"""


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    """No proxy of this machine on the way, no waiting between retries, no credentials of whoever runs this."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "_BACKOFF_S", 0)


@pytest.fixture
def project(tmp_path):
    """A project in which nothing is missing, with a Terraform, an engine and a mirror of its own."""
    for name, text in (("terraform", '{"terraform_version": "1.14.2"}'), ("podman", "podman")):
        program(tmp_path, name, text)
    (tmp_path / "mirror/registry.terraform.io/hashicorp/aws").mkdir(parents=True)
    for folder in ("terraform/envs/dev", "terraform/bootstrap"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "main.tf").write_text("")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    write(tmp_path)
    return tmp_path


def program(folder, name, said):
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(f"#!/bin/sh\necho '{said}'\n")
    (folder / "bin" / name).chmod(0o755)


def write(folder, api_url="https://api.github.com", **more):
    text = FILE.format(api_url=api_url)
    terraform = {"provider_mirror": str(folder / "mirror")} | more
    text += "\n[terraform]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in terraform.items())
    (folder / "orch.toml").write_text(text)


def given(folder, *, registry_problem="", **more):
    settings = orch_settings.load(folder / "orch.toml")
    # Git is the machine's; Terraform and the engine are the project's alone.
    (folder / "bin" / "git").exists() or (folder / "bin" / "git").symlink_to(which("git"))
    environ = {"PATH": str(folder / "bin"), "HOME": str(folder)} | more.pop("environ", {})
    return doctor.Given(settings, environ, registry_problem=lambda _registry: registry_problem, **more)


def which(name):
    return next(path for folder in os.environ["PATH"].split(":") if (path := Path(folder) / name).is_file())


def by_id(findings, *outcomes):
    """The findings by id, of these outcomes; every one of them says what is wrong, and a FAIL what to do."""
    chosen = [one for one in findings if one.outcome in outcomes]
    assert all(one.detail and (one.hint or one.outcome == "SKIP") for one in chosen)
    return {one.id: one for one in chosen}


def amiss(findings):
    return by_id(findings, "FAIL", "WARN")


# --- this machine, and the project


def machine(made):
    return doctor_machine.examine(made, tuple(made.settings.environments.values()))


def test_a_machine_that_has_all(project):
    subprocess.run(["git", "init", "-q", project], check=True)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", project, "commit", "-qm", "x", "--allow-empty"], check=True)
    found = machine(given(project))
    assert {one.id: one.outcome for one in found} == dict.fromkeys(
        ("orch", "git", "terraform", "providers", "engine", "files"), "OK"
    )
    said = {one.id: one.detail for one in found}
    assert said["terraform"] == f"terraform 1.14.2, {project}/bin/terraform"
    assert said["providers"] == f"hashicorp/aws from the mirror {project}/mirror"


def test_no_terraform(project):
    (project / "bin/terraform").unlink()
    write(project, binary="terraform")
    assert 'terraform.binary = "auto"' in amiss(machine(given(project)))["terraform"].hint


def test_a_terraform_that_is_too_old(project):
    program(project, "terraform", '{"terraform_version": "1.9.8"}')
    write(project, binary="terraform")
    found = amiss(machine(given(project)))["terraform"]
    assert "is version 1.9.8; orch needs terraform >= 1.11" in found.detail
    assert "upgrade it" in found.hint


def test_no_image_engine(project):
    (project / "bin/podman").unlink()
    found = amiss(machine(given(project)))["engine"]
    assert "podman: not on PATH" in found.detail
    assert "install podman" in found.hint


def test_a_mirror_that_holds_no_provider(project):
    (project / "empty").mkdir()
    write(project, provider_mirror=str(project / "empty"))
    found = amiss(machine(given(project)))["providers"]
    assert "terraform.provider_mirror: no folder named registry.terraform.io" in found.detail
    assert "terraform providers mirror" in found.hint


def test_no_way_to_the_registry(project):
    (project / "mirror/registry.terraform.io/hashicorp/aws").rmdir()
    found = amiss(machine(given(project, registry_problem="Name or service not known")))["providers"]
    assert "lacks hashicorp/aws, and registry.terraform.io cannot be reached: Name or" in found.detail
    assert "HTTPS_PROXY" in found.hint
    assert "providers" not in amiss(machine(given(project)))


def test_a_dockerfile_that_is_not_there(project):
    (project / "Dockerfile").unlink()
    found = amiss(machine(given(project)))
    assert found["files"].detail == "not there: Dockerfile"
    assert "no commit, by which orch tags images" in found["git"].detail


# --- the account


def session(cloud, account=ACCOUNT):
    environ = control.aws_environment(cloud.sandbox, account_id=account, region=REGION)
    return Aws(REGION, environ)


def document(subjects, test="StringEquals"):
    asked = {"StringEquals": {f"{trust.ISSUER}:aud": trust.AUDIENCE}}
    asked.setdefault(test, {})[f"{trust.ISSUER}:sub"] = sorted(subjects)
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": PROVIDER},
        "Condition": asked,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def subjects(role, name=SUBJECT, environment="dev"):
    return trust.subjects(role, subject_repository=name, environment=environment, branches=("main",))


@pytest.fixture
def account(cloud, project):
    """An account in which nothing is missing."""
    made = given(project)
    environment = made.settings.environment("dev")
    aws = session(cloud)
    bootstrap.ensure_bucket(aws, environment, Steps(lambda _event: None), ask=lambda _question: True)
    iam = cloud.client("iam")
    iam.create_open_id_connect_provider(Url=f"https://{trust.ISSUER}", ClientIDList=[trust.AUDIENCE])
    for role in Role:
        iam.create_role(
            RoleName=f"demo-dev-{role}",
            Path="/github-actions/",
            AssumeRolePolicyDocument=document(subjects(role)),
        )
    return aws


def look(project, aws, *, name=SUBJECT, **more):
    made = given(project, **more)
    environment = made.settings.environment("dev")
    return doctor_aws.examine(made, environment, aws, subject_repository=name)[1]


def test_an_account_that_has_all(project, account, cloud):
    before = len(cloud.calls())
    found = look(project, account)
    assert [one.id for one in found if one.outcome != "OK"] == []
    assert [one.id for one in found] == [
        *("credentials", "account", "region", "clock"),
        *("state_bucket", "state_bucket_versioning", "state_bucket_encryption", "state_bucket_public_access"),
        *("state_bucket_ownership", "state_bucket_policy", "state_bucket_lifecycle"),
        *("oidc_provider", *["role_trust"] * 4, "registry"),
    ]
    assert {one.subject.rsplit("-", 1)[-1]: one.detail for one in found if one.id == "role_trust"} == {
        "plan": "repo:acme/shop:environment:dev, repo:acme/shop:pull_request, repo:acme/shop:ref:refs/heads/main",
        "push": "repo:acme/shop:environment:dev, repo:acme/shop:ref:refs/heads/main",
        "apply": "repo:acme/shop:environment:dev",
        "deploy": "repo:acme/shop:environment:dev",
    }
    # The greeting of the registry has no name. What is asked is what the README says that it takes.
    assert {call["operation"] for call in cloud.calls()[before:] if call.get("operation")} == {
        *("GetCallerIdentity", "HeadBucket", "GetBucketVersioning", "GetBucketEncryption"),
        *("GetPublicAccessBlock", "GetBucketOwnershipControls", "GetBucketPolicy"),
        *("GetBucketLifecycleConfiguration", "GetOpenIDConnectProvider", "GetRole", "GetAuthorizationToken"),
    }


def test_no_credentials(project, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-this")
    found = look(project, Aws(REGION, {}))
    failed = amiss(found)
    assert list(failed) == ["credentials"]
    assert "AWS_PROFILE" in failed["credentials"].hint
    skipped = by_id(found, "SKIP")
    assert set(skipped) == {"account", "clock", "state_bucket", "oidc_provider", "role_trust", "registry"}
    assert skipped["registry"].detail == "no credentials that AWS takes"


def test_credentials_of_another_account(project, account, cloud):
    found = look(project, session(cloud, "222222222222"))
    assert list(amiss(found)) == ["account"]
    assert "environment `dev` lives in account 111111111111" in amiss(found)["account"].detail
    assert by_id(found, "SKIP")["state_bucket"].detail == "the credentials are those of account 222222222222"


def test_another_region_in_the_shell(project, account):
    found = amiss(look(project, account, environ={"AWS_REGION": "us-east-1"}))
    assert list(found) == ["region"]
    assert found["region"].hint == "export AWS_REGION=eu-central-1"


@pytest.mark.parametrize(
    ("seconds", "outcome", "said"),
    [
        (600, "FAIL", "600 s ahead of AWS, which refuses signatures older than 300 s"),
        (-600, "FAIL", "this machine is "),
        (60, "WARN", "it refuses signatures from 300 s on"),
        (5, "OK", "within seconds"),
    ],
)
def test_a_clock_ten_minutes_ahead(project, cloud, seconds, outcome, said):
    aws = session(cloud)
    aws.identity()
    told_s = aws.told_now()
    shifted = replace(given(project), now=lambda: told_s + seconds)
    found = doctor_aws._clock(shifted, aws)
    assert (found.outcome, said in found.detail) == (outcome, True)


def fix(project, aws, found):
    """What the printed command does."""
    made = given(project)
    ready = [Ready(made.settings.environment("dev"), aws, made.environ, Steps(lambda _event: None))]
    assert {one.hint for one in amiss(found).values()} == {"run `orch doctor --env dev --fix`"}
    checked = doctor.Checkup("environment", "dev", found)
    assert doctor.mend(
        made,
        ready,
        [checked],
        steps=ready[0].steps,
        ask=lambda _question: True,
        approve_github=lambda _found: True,
    )
    assert amiss(look(project, aws)) == {}


def test_no_state_bucket(project, account):
    account.s3.delete_bucket_policy(**OWNER)
    account.s3.delete_bucket(**OWNER)
    found = look(project, account)
    assert amiss(found)["state_bucket"].detail == f"there is no bucket {BUCKET}"
    fix(project, account, found)


def drop_ownership(s3):
    s3.put_bucket_encryption(
        **OWNER,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    s3.delete_bucket_lifecycle(**OWNER)
    s3.delete_bucket_ownership_controls(**OWNER)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (
            lambda s3: s3.put_bucket_versioning(**OWNER, VersioningConfiguration={"Status": "Suspended"}),
            {"state_bucket_versioning": "versioning is Suspended: a state that is overwritten is lost"},
        ),
        (
            lambda s3: s3.delete_public_access_block(**OWNER),
            {
                "state_bucket_public_access": "not blocked: BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy,"
                " RestrictPublicBuckets"
            },
        ),
        (
            lambda s3: s3.delete_bucket_policy(**OWNER),
            {
                "state_bucket_policy": "its policy lacks, or has otherwise: DenyInsecureTransport, DenyOldTls, DenyDeletion"
            },
        ),
        (
            drop_ownership,
            {
                "state_bucket_encryption": "objects are encrypted by AES256, not by aws:kms",
                "state_bucket_lifecycle": "its lifecycle lacks, or has otherwise: expire-old-versions,"
                " expire-sealed-plans",
                "state_bucket_ownership": "ACLs count: object ownership is not BucketOwnerEnforced",
            },
        ),
    ],
    ids=("versioning", "public access", "policy", "encryption, lifecycle, ownership"),
)
def test_a_setting_of_the_state_bucket_is_lost_and_mended(project, account, plant, expected):
    plant(account.s3)
    found = look(project, account)
    assert {name: one.detail for name, one in amiss(found).items()} == expected
    fix(project, account, found)


def test_mending_a_setting_keeps_the_owners_key_and_rules(project, account):
    key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/own"}
    account.s3.put_bucket_encryption(
        **OWNER,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": key}]},
    )
    rule = {
        "ID": "own",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 3},
    }
    account.s3.put_bucket_lifecycle_configuration(**OWNER, LifecycleConfiguration={"Rules": [rule]})
    found = look(project, account)
    assert list(amiss(found)) == ["state_bucket_lifecycle"]
    fix(project, account, found)
    (encryption,) = account.s3.get_bucket_encryption(**OWNER)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption["ApplyServerSideEncryptionByDefault"] == key
    rules = account.s3.get_bucket_lifecycle_configuration(**OWNER)["Rules"]
    assert [one["ID"] for one in rules] == ["own", "expire-old-versions", "expire-sealed-plans"]


def answers(aws, service, operation, status, parsed):
    """From now on AWS answers so; botocore takes what a handler returns in place of a response."""
    client = getattr(aws, service)
    reply = (AWSResponse("https://aws", status, {}, None), parsed)
    client.meta.events.register_first(f"before-call.{service}.{operation}", lambda **_: reply)


DENIED = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {}}
FORBIDDEN = {"Error": {"Code": "403", "Message": "Forbidden"}, "ResponseMetadata": {}}


def test_a_bucket_in_another_region(project, account):
    answers(account, "s3", "HeadBucket", 200, {"BucketRegion": "us-east-1"})
    found = amiss(look(project, account))
    assert list(found) == ["state_bucket_region"]
    assert "lies in us-east-1, and the environment in eu-central-1" in found["state_bucket_region"].detail


def test_a_bucket_of_another_account(project, account):
    answers(account, "s3", "HeadBucket", 403, FORBIDDEN)
    answers(account, "s3", "ListBuckets", 200, {"Buckets": []})
    found = amiss(look(project, account))
    assert "belongs to another account" in found["state_bucket_owner"].detail
    assert "choose another state_bucket" in found["state_bucket_owner"].hint


def test_what_the_credentials_may_not_ask_is_skipped(project, account):
    for service, operation in (
        *(("s3", name) for name in ("GetBucketVersioning", "GetBucketPolicy", "GetPublicAccessBlock")),
        ("iam", "GetOpenIDConnectProvider"),
        ("iam", "GetRole"),
        ("ecr", "GetAuthorizationToken"),
    ):
        answers(account, service, operation, 403, DENIED)
    found = look(project, account)
    assert amiss(found) == {}
    assert {name: one.detail for name, one in by_id(found, "SKIP").items()} == {
        "state_bucket_versioning": "the role may not call s3:GetBucketVersioning",
        "state_bucket_policy": "the role may not call s3:GetBucketPolicy",
        "state_bucket_public_access": "the role may not call s3:GetBucketPublicAccessBlock",
        "oidc_provider": "the role may not call iam:GetOpenIDConnectProvider",
        "role_trust": "the role may not call iam:GetRole",
        "registry": "the role may not call ecr:GetAuthorizationToken",
    }
    answers(account, "s3", "HeadBucket", 403, FORBIDDEN)
    own = by_id(look(project, account), "SKIP")["state_bucket_owner"]
    assert own.detail == "the credentials may not call s3:ListBucket"
    answers(account, "s3", "ListBuckets", 403, DENIED)
    unknown = by_id(look(project, account), "SKIP")["state_bucket_owner"]
    assert unknown.detail.endswith(", or the bucket is another account's")


def test_no_identity_provider(project, account):
    account.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=PROVIDER)
    found = amiss(look(project, account))
    assert list(found) == ["oidc_provider"]
    assert found["oidc_provider"].hint == "run `orch bootstrap --env dev`"


def test_a_provider_for_another_audience(project, account):
    account.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=PROVIDER)
    account.iam.create_open_id_connect_provider(Url=f"https://{trust.ISSUER}", ClientIDList=["other"])
    found = amiss(look(project, account))["oidc_provider"]
    assert "does not take the audience sts.amazonaws.com, but other" in found.detail
    assert "aws iam add-client-id-to-open-id-connect-provider" in found.hint


def test_a_role_that_is_not_there(project, account):
    account.iam.delete_role(RoleName="demo-dev-push")
    found = amiss(look(project, account))
    assert list(found) == ["role_trust"]
    assert found["role_trust"].detail.endswith("role/github-actions/demo-dev-push")
    assert found["role_trust"].hint == "run `orch bootstrap --env dev`"


@pytest.mark.parametrize(
    ("trusted", "test", "said"),
    [
        (subjects(Role.APPLY, "acme@12/shop@34"), "StringEquals", "the other of GitHub's two forms"),
        (subjects(Role.APPLY, environment="prod"), "StringEquals", "the tokens say `repo:acme/shop:environ"),
        ({"repo:acme/*"}, "StringLike", "by StringLike `repo:acme/*`, which may let others in"),
    ],
    ids=("the other form", "another environment", "a wildcard"),
)
def test_a_trust_that_does_not_fit(project, account, trusted, test, said):
    account.iam.update_assume_role_policy(RoleName="demo-dev-apply", PolicyDocument=document(trusted, test))
    found = amiss(look(project, account))
    assert list(found) == ["role_trust"]
    assert said in found["role_trust"].detail
    assert found["role_trust"].subject.endswith("demo-dev-apply")


def test_a_repository_whose_tokens_carry_ids_is_let_in_by_roles_that_trust_them(project, account):
    ids = "acme@123456/shop@456789"
    failed = [one for one in look(project, account, name=ids) if one.outcome == "FAIL"]
    assert [one.subject.rsplit("-", 1)[-1] for one in failed] == ["plan", "push", "apply", "deploy"]
    assert (
        failed[0].hint
        == f'set repository = "{ids}" in [github] of orch.toml, then run `orch bootstrap --env dev`'
    )
    for role in Role:
        account.iam.update_assume_role_policy(
            RoleName=f"demo-dev-{role}", PolicyDocument=document(subjects(role, ids))
        )
    assert amiss(look(project, account, name=ids)) == {}


def test_a_registry_that_does_not_answer(project, account):
    closed = {"authorizationToken": "QVdTOnNlY3JldA==", "proxyEndpoint": "http://127.0.0.1:9"}
    answers(account, "ecr", "GetAuthorizationToken", 200, {"authorizationData": [closed]})
    found = amiss(look(project, account))
    assert list(found) == ["registry"]
    assert "127.0.0.1:9" in found["registry"].detail
    assert "QVdT" not in str(found)
    assert "secret" not in str(found)


# --- GitHub


@pytest.fixture
def github(project):
    """A repository in which nothing is missing."""
    with GitHub().serving() as fake:
        fake.subject = {"use_default": True, "use_immutable_subject": False}
        write(project, fake.url)
        wanted = wanted_of(project)
        found = repository.compare(TOKEN, "acme/shop", wanted, api_url=fake.url)
        repository.apply(TOKEN, "acme/shop", found, api_url=fake.url)
        fake.calls.clear()
        yield fake


def wanted_of(project):
    made = given(project)
    return bootstrap.wanted_on_github(made.settings, tuple(made.settings.environments.values()))


def ask(project, token=TOKEN):
    made = given(project, github_token=token)
    checked, subject = doctor_github.examine(made, tuple(made.settings.environments.values()))
    assert TOKEN not in str(checked)
    return checked.findings, subject


def fix_github(project, github):
    """What the printed command does."""
    made = given(project, github_token=TOKEN)
    findings = ask(project)[0]
    assert {one.hint for one in amiss(findings).values()} == {"run `orch doctor --fix`"}
    ready = [Ready(made.settings.environment("dev"), None, {}, Steps(lambda _event: None))]
    checked = doctor.Checkup("github", "GitHub acme/shop", findings)
    assert doctor.mend(
        made, ready, [checked], steps=ready[0].steps, ask=lambda _: False, approve_github=lambda _: True
    )
    assert amiss(ask(project)[0]) == {}


def test_a_repository_that_has_all(project, github):
    found, subject = ask(project)
    assert [(one.id, one.outcome, one.detail) for one in found] == [
        ("github", "OK", f"acme/shop on {github.url}"),
        ("github_subject", "OK", "acme/shop (OWNER/NAME)"),
        ("github_environment", "OK", "dev: open to main alone"),
        ("github_variable", "OK", "all 2 as orch wants them"),
        ("github_variable", "OK", "all 2 as orch wants them"),
    ]
    assert subject == "acme/shop"
    assert github.writes() == []


def test_without_a_token_github_is_skipped(project, github):
    (found,), subject = ask(project, token="")
    assert (found.outcome, found.detail) == ("SKIP", "no token in GITHUB_TOKEN or GH_TOKEN")
    assert found.hint == "with the GitHub CLI: `GITHUB_TOKEN=$(gh auth token) orch doctor`"
    assert subject == "acme/shop"
    assert github.calls == []


def test_a_token_that_is_not_valid(project, github):
    found = amiss(ask(project, token="github_pat_expired")[0])
    assert list(found) == ["github"]
    assert "401 Bad credentials" in found["github"].detail
    assert "set GITHUB_TOKEN" in found["github"].hint


def test_a_token_that_may_not_ask_is_told_what_it_lacks(project, github):
    github.permissions = {"metadata": "read", "actions": "read"}
    found, _subject = ask(project)
    assert [one.outcome for one in found] == ["OK", "OK", "OK", "SKIP", "SKIP"]
    assert "permission Variables: read" in found[4].hint


def test_a_repository_whose_tokens_carry_ids_and_orch_toml_does_not(project, github):
    github.subject = {"use_default": True, "use_immutable_subject": True}
    found, subject = ask(project)
    failed = amiss(found)
    assert list(failed) == ["github_subject"]
    assert "name it acme@123456/shop@456789, and orch.toml acme/shop" in failed["github_subject"].detail
    assert 'set repository = "acme@123456/shop@456789"' in failed["github_subject"].hint
    assert "`orch bootstrap --env dev`" in failed["github_subject"].hint
    assert subject == "acme@123456/shop@456789"


def test_no_environment(project, github):
    del github.environments["dev"]
    found = amiss(ask(project)[0])
    assert "create environment `dev`, open to `main` alone" in found["github_environment"].detail
    fix_github(project, github)


def test_an_environment_open_to_any_branch(project, github):
    github.environments["dev"].policy = None
    github.environments["dev"].patterns = []
    found = amiss(ask(project)[0])
    assert found["github_environment"].detail.startswith("any branch may deploy: ")
    fix_github(project, github)


def test_an_environment_with_another_rule_is_left_alone(project, github):
    github.environments["dev"].patterns = [("branch", "next")]
    found = amiss(ask(project)[0])["github_environment"]
    assert (found.outcome, "is left alone: open to `next`" in found.detail) == ("WARN", True)


def test_a_variable_with_another_value(project, github):
    github.environments["dev"].variables["ORCH_APPLY_ROLE"] = "arn:other"
    found = amiss(ask(project)[0])
    assert (
        "change variable ORCH_APPLY_ROLE of environment `dev`: 'arn:other' →"
        in found["github_variable"].detail
    )
    fix_github(project, github)


# --- the whole, as a command


def test_the_printed_command_mends_bucket_and_variable(project, account, github, cloud):
    del github.variables["ORCH_DEV_PLAN_ROLE"]
    account.s3.put_bucket_versioning(**OWNER, VersioningConfiguration={"Status": "Suspended"})
    environ = {
        "PATH": f"{project}/bin:{os.environ['PATH']}",
        "HOME": str(project),
        "ORCH_SANDBOX_DIR": str(cloud.sandbox.log_path.parent),
        "GITHUB_TOKEN": TOKEN,
    }

    def orch(*words):
        program = Path(sys.executable).parent / "orch"
        return subprocess.run(
            [program, *words], cwd=project, env=environ, capture_output=True, text=True, check=False
        )

    first = orch("doctor", "--env", "dev", "--sandbox", "--output", "json")
    found = [json.loads(line) for line in first.stdout.splitlines()]
    checkups = [one for one in found if one["type"] == "checkup"]
    assert [(one["scope"], one["name"]) for one in checkups] == [
        ("machine", "this machine"),
        ("github", "GitHub acme/shop"),
        ("environment", "dev"),
    ]
    failed = {
        finding["id"]: finding["hint"]
        for one in checkups
        for finding in one["findings"]
        if finding["outcome"] == "FAIL"
    }
    assert first.returncode == 1, first.stderr
    assert failed == dict.fromkeys(
        ("github_variable", "state_bucket_versioning"), "run `orch doctor --env dev --fix --sandbox`"
    )
    command = failed["github_variable"].removeprefix("run `").removesuffix("`")
    again = orch(*command.split()[1:], "--yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.splitlines()[-1] == "✓ Nothing to mend"
    assert github.variables["ORCH_DEV_PLAN_ROLE"].endswith("role/github-actions/demo-dev-plan")
    assert account.s3.get_bucket_versioning(**OWNER)["Status"] == "Enabled"
    assert TOKEN not in first.stdout + first.stderr + again.stdout + again.stderr
