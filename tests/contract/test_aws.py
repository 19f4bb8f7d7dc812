"""aws.py and store.py against the sandbox: accounts, assumed roles, translated errors, the state bucket."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from orchestrator import aws, store, web_identity
from orchestrator.aws import Aws, Identity
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.sandbox import control
from tests.unit.test_report import RELEASE

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, OTHER, REGION = "111111111111", "222222222222", "eu-central-1"


@pytest.fixture
def environ(cloud, tmp_path):
    return {
        "HOME": str(tmp_path),
        **control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION),
    }


def test_the_identity_is_the_credentials_own_and_asked_once(environ, cloud):
    session = Aws(REGION, environ)
    assert session.identity().account_id == ACCOUNT
    assert session.identity() is session.identity()
    assert [call.get("operation") for call in cloud.calls()].count("GetCallerIdentity") == 1


def test_another_account_is_refused_with_both_named():
    with pytest.raises(PreconditionError) as caught:
        aws.require_account(Identity(ACCOUNT, "arn:x"), account_id=OTHER, environment="prod")
    assert ACCOUNT in caught.value.message
    assert OTHER in caught.value.message
    assert "[environments.prod]" in caught.value.hint


def test_an_assumed_role_works_in_its_own_account_and_terraform_gets_its_credentials(environ):
    session = Aws(REGION, environ, f"arn:aws:iam::{OTHER}:role/deploy")
    assert session.identity().account_id == OTHER
    handed_on = session.process_environment()
    assert handed_on["AWS_SESSION_TOKEN"]
    child = Aws(REGION, environ | handed_on)
    assert child.identity().account_id == OTHER


def test_without_a_role_terraform_finds_the_callers_credentials_itself(environ):
    assert set(Aws(REGION, environ).process_environment()) == {"AWS_REGION", "AWS_DEFAULT_REGION"}


def test_a_profile_named_elsewhere_does_not_have_to_exist(environ, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    assert Aws(REGION, environ).identity().account_id == ACCOUNT


def test_a_profile_that_does_not_exist_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AwsError) as caught:
        Aws(REGION, {}).identity()
    assert "no-such-profile" in caught.value.message
    assert "AWS_PROFILE" in caught.value.hint


def test_no_credentials_say_how_to_log_in(monkeypatch, tmp_path, cloud):
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AwsError) as caught:
        Aws(REGION, {"AWS_ENDPOINT_URL": cloud.sandbox.endpoint_url}).identity()
    assert caught.value.code == "NoCredentialsError"
    assert "aws sso login" in caught.value.hint


def test_a_refusal_names_call_code_and_request(environ):
    with pytest.raises(AwsError) as caught, aws.translated("ecr:DescribeImages"):
        Aws(REGION, environ).ecr.describe_images(repositoryName="absent")
    assert caught.value.code == "RepositoryNotFoundException"
    assert caught.value.message.startswith("ecr:DescribeImages failed: RepositoryNotFoundException: ")
    assert caught.value.details[0].startswith("request id ")


def test_the_state_bucket_is_made_once_and_mended_ever_after(environ):
    s3 = Aws(REGION, environ).s3
    assert not store.has_bucket(s3, "orch-state", account_id=ACCOUNT)
    assert store.create_bucket(s3, "orch-state", region=REGION, account_id=ACCOUNT) is True
    s3.put_bucket_versioning(Bucket="orch-state", VersioningConfiguration={"Status": "Suspended"})
    assert store.create_bucket(s3, "orch-state", region=REGION, account_id=ACCOUNT) is False
    assert s3.get_bucket_versioning(Bucket="orch-state")["Status"] == "Enabled"
    assert s3.get_bucket_location(Bucket="orch-state")["LocationConstraint"] == REGION


def test_statements_that_others_put_into_the_buckets_policy_stay(environ):
    s3 = Aws(REGION, environ).s3
    store.create_bucket(s3, "orch-state", region=REGION, account_id=ACCOUNT)
    policy = json.loads(s3.get_bucket_policy(Bucket="orch-state")["Policy"])
    own = ["DenyInsecureTransport", "DenyOldTls", "DenyDeletion"]
    assert [statement["Sid"] for statement in policy["Statement"]] == own
    auditor = {
        "Sid": "Auditor",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/audit"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::orch-state/orch/*",
    }
    loosened = {"Version": "2012-10-17", "Statement": [auditor, policy["Statement"][1]]}
    s3.put_bucket_policy(Bucket="orch-state", Policy=json.dumps(loosened))
    store.create_bucket(s3, "orch-state", region=REGION, account_id=ACCOUNT)
    mended = json.loads(s3.get_bucket_policy(Bucket="orch-state")["Policy"])["Statement"]
    assert [statement["Sid"] for statement in mended] == ["Auditor", *own]
    assert mended[0] == auditor


def test_calls_name_the_role_whose_work_they_are(environ, cloud):
    session = Aws(REGION, environ)
    before = len(cloud.calls())
    deploying = session.acting_as("deploy")
    assert deploying.ecs is deploying.ecs
    assert deploying.ecs is not session.ecs
    deploying.ecs.list_clusters()
    session.ecs.list_clusters()
    said = [call["user_agent"] for call in cloud.calls()[before:] if call["operation"] == "ListClusters"]
    assert [agent.endswith(" app/orch md/role#deploy") for agent in said] == [True, False]
    assert said[1].endswith(" app/orch")
    session.identity()
    deploying.identity()
    assert [call["operation"] for call in cloud.calls()[before:]].count("GetCallerIdentity") == 1


def test_us_east_1_is_not_named_as_a_location(environ):
    s3 = Aws("us-east-1", environ).s3
    assert store.create_bucket(s3, "orch-state-us", region="us-east-1", account_id=ACCOUNT)
    assert s3.get_bucket_location(Bucket="orch-state-us")["LocationConstraint"] is None


def test_release_records_list_the_newest_first(environ):
    s3, bucket = Aws(REGION, environ).s3, "orch-state"
    store.create_bucket(s3, bucket, region=REGION, account_id=ACCOUNT)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(3):
        release = dataclasses.replace(RELEASE, id=f"r{number}")
        store.put_release(s3, bucket, release, at=start + timedelta(hours=number))
    keys = [
        item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="orch/releases/dev/")["Contents"]
    ]
    assert [key.split(".")[0][-2:] for key in keys] == ["r2", "r1", "r0"]
    record = json.loads(s3.get_object(Bucket=bucket, Key=keys[0])["Body"].read())
    assert record["verdict"] == "SUCCEEDED"
    assert record["durations_s"]["rollout"] == 125.0


def test_the_models_are_read_once_for_all_environments(cloud, tmp_path):
    sessions = [
        Aws(
            region,
            {"HOME": str(tmp_path)}
            | control.aws_environment(cloud.sandbox, account_id=account_id, region=region),
        )
        for account_id, region in (("111111111111", "eu-central-1"), ("222222222222", "eu-west-1"))
    ]
    with ThreadPoolExecutor(8) as pool:
        accounts = list(pool.map(lambda one: one.identity().account_id, sessions * 4))
        models = list(pool.map(lambda one: one.ecs.meta.service_model.metadata, sessions))
    assert accounts == ["111111111111", "222222222222"] * 4
    assert models[0] is models[1]
    assert [one.ecs.meta.region_name for one in sessions] == ["eu-central-1", "eu-west-1"]


@pytest.mark.parametrize(
    ("client", "variable"),
    [
        ("autoscaling", "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING"),
        ("elbv2", "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2"),
        ("logs", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"),
        ("secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
        ("ecs", "AWS_ENDPOINT_URL_ECS"),
    ],
)
def test_the_endpoint_variable_of_a_service_is_named_as_aws_names_it(client, variable):
    session = Aws(REGION, {"AWS_ENDPOINT_URL": "http://all.example", variable: "http://one.example"})
    assert getattr(session, client).meta.endpoint_url == "http://one.example"
    assert session.sts.meta.endpoint_url == "http://all.example"


class _GitHub(BaseHTTPRequestHandler):
    """Gives a job its token, as the runner's endpoint does."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self):
        self.asked.append((self.path, self.headers["Authorization"]))
        body = json.dumps({"value": "header.claims.signature"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def job(environ):
    """The environment of a job on GitHub that may ask for a token, and has no credentials."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _GitHub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    _GitHub.asked.clear()
    given = {key: value for key, value in environ.items() if not key.startswith(("AWS_ACCESS", "AWS_SECRET"))}
    yield given | {
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{server.server_port}/token?v=1",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "bearer",
    }
    server.shutdown()
    server.server_close()
    thread.join()


def test_each_pipeline_role_has_credentials_of_its_own_for_a_token_of_github(job):
    assert web_identity.is_offered(job)
    assert not web_identity.is_offered(job | {"AWS_ACCESS_KEY_ID": "given"})
    roles = {
        name: f"arn:aws:iam::{ACCOUNT}:role/github-actions/demo-dev-{name}" for name in ("apply", "deploy")
    }
    session = Aws(REGION, job, web_roles=roles)
    with pytest.raises(PreconditionError, match="none of their work"):
        session.identity()
    with pytest.raises(PreconditionError, match="none of their work"):
        session.acting_as("push").process_environment()
    assert _GitHub.asked == []
    applying, deploying = session.acting_as("apply"), session.acting_as("deploy")
    keys = [one.process_environment()["AWS_ACCESS_KEY_ID"] for one in (applying, deploying, applying)]
    assert keys[0] == keys[2] != keys[1]
    assert _GitHub.asked == [("/token?v=1&audience=sts.amazonaws.com", "Bearer bearer")] * 2
    assert applying.identity().account_id == ACCOUNT
    assert session.identity().account_id == ACCOUNT


def test_a_github_that_gives_no_token_is_told_without_the_bearer(job):
    unreachable = job | {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:1/"}
    with pytest.raises(AwsError, match="no token") as caught:
        web_identity.token(unreachable)
    assert "id-token: write" in caught.value.hint
    assert "bearer" not in str(caught.value)
