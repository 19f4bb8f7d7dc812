"""What `orch board` gathers of environments on the sandbox: one with all there is to see, one behind it, two that cannot be read."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from orchestrator import permissions, settings, store
from orchestrator.aws import Aws
from orchestrator.events import Steps, Warned
from orchestrator.model import Image, Release, Standing, Verdict
from orchestrator.operations import board_page
from orchestrator.operations.plan_all import Ready
from orchestrator.permissions import Role
from orchestrator.promotion import State
from orchestrator.report import board_html
from orchestrator.report.board_html import Trouble
from orchestrator.sandbox import control
from orchestrator.store import release_json
from tests import authorization
from tests.conftest import require_tool
from tests.contract import told
from tests.contract.github_fake import BOT, TOKEN, GitHub, Issue
from tests.contract.told import Told
from tests.e2e.conftest import git

pytest_plugins = ("tests.contract.sandbox_fixtures",)
DEV, STAGING, NEVER, LOST = "111111111111", "222222222222", "333333333333", "444444444444"
DIGEST = "sha256:" + "ab" * 32
NOW = datetime.now(UTC).replace(microsecond=0)
ELSEWHERE = "registry.example/app"
TOML = """
project = "demo"
region = "eu-central-1"

[github]
repository = "acme/demo"

[services.web]
context = "web"

[services.jobs]
context = "jobs"

[environments.dev]
account_id = "111111111111"

[environments.staging]
account_id = "222222222222"
promotes_from = "dev"
promotion = { soak_minutes = 30, require_empty_plan = true, branches = [] }

[environments.prod]
account_id = "333333333333"
promotes_from = "staging"

[environments.lost]
account_id = "444444444444"
promotes_from = "dev"
"""


@pytest.fixture
def project(tmp_path):
    require_tool("terraform")
    (tmp_path / "orch.toml").write_text(TOML)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Show the <b>basket</b>")
    return tmp_path


def sha_of(project) -> str:
    return git(project, "rev-parse", "HEAD")


def tags(commit, at):
    return {
        "orch:release": "20260701T070000Z-00000f",
        "orch:git-sha": commit,
        "orch:released-at": at.isoformat(timespec="seconds"),
    }


def readys(cloud, project, told_events):
    def one(environment):
        environ = {"PATH": os.environ["PATH"], "HOME": str(project)} | control.aws_environment(
            cloud.sandbox, account_id=environment.account_id, region=environment.region
        )
        for name in ("TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR"):
            environ |= {name: os.environ[name]} if name in os.environ else {}
        steps = Steps(told_events.append, scope=environment.name)
        return Ready(environment, Aws(environment.region, environ), environ, steps)

    loaded = settings.load(project / "orch.toml")
    return loaded, [one(environment) for environment in loaded.environments.values()]


def put_image(cloud, name):
    """An image in dev's repository; its digest."""
    cloud.make_repository(f"demo-dev/{name}")
    manifest = cloud.make_manifest(f"demo-dev/{name}")
    put = cloud.ecr.put_image(repositoryName=f"demo-dev/{name}", imageManifest=manifest, imageTag="one")
    return put["image"]["imageId"]["imageDigest"]


def release(number, environment="dev", account_id=DEV, **more):
    began = NOW - timedelta(hours=number)
    done = Release(
        id=f"{began:%Y%m%dT%H%M%SZ}-{number:06x}",
        environment=environment,
        service="web",
        account_id=account_id,
        region=told.REGION,
        image=Image("r.example/web", DIGEST),
        commit=f"{number:040x}",
        revision_arn="arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web:7",
        verdict=Verdict.ROLLED_BACK if number % 4 == 0 else Verdict.SUCCEEDED,
        reason="a reason" if number % 4 == 0 else "",
        running_count=2,
        desired_count=2,
        actor="arn:aws:iam::111111111111:user/alice",
        started_at=began.isoformat(),
        durations_s={},
        committed_at=(began - timedelta(hours=2)).isoformat(),
    )
    return dataclasses.replace(done, **more), began


def fill(cloud, count):
    """So many releases of dev, one an hour."""
    objects = [
        {
            "key": store.release_key(done, began),
            "body": release_json.encode(done).decode(),
            "at": (began + timedelta(minutes=10)).isoformat(),
        }
        for done, began in (release(number) for number in range(1, count + 1))
    ]
    control.control(cloud.sandbox, "POST", f"buckets/{told.bucket(DEV)}", objects)


def clients(cloud):
    return lambda service, account_id: cloud.client(service, key=account_id)


def test_all_that_the_page_shows_is_read_side_by_side(cloud, project):
    commit, now = sha_of(project), NOW
    digest = put_image(cloud, "web")
    make = clients(cloud)
    told.make(
        make,
        project,
        "dev",
        DEV,
        Told("web", digest, tags(commit, now - timedelta(hours=1)), declared=1),
        Told("jobs", DIGEST, {}, repository=ELSEWHERE),
    )
    told.make(
        make, project, "staging", STAGING, Told("web", DIGEST, tags("c0ffee", now), repository=ELSEWHERE)
    )
    store.create_bucket(
        cloud.client("s3", key=NEVER), told.bucket(NEVER), region=told.REGION, account_id=NEVER
    )
    (project / "terraform/envs/prod").mkdir(parents=True)
    (project / "terraform/envs/prod/main.tf").write_text(told.ROOT.format(env="prod"))
    fill(cloud, 2000)
    cloud.advance(60)
    told_events = []
    loaded, ready = readys(cloud, project, told_events)
    before = len(cloud.calls())
    overview = board_page.gather(loaded, ready, now=now)
    page = board_html.render(overview)

    # What runs.
    dev, staging, prod, lost = overview.places
    assert overview.services == ("web", "jobs")
    by_name = {one.service: one for one in dev.services}
    assert (by_name["web"].standing, by_name["web"].commit) == (Standing.RELEASED, commit)
    assert by_name["jobs"].standing is Standing.NEW
    assert dev.drift == {
        "web": ("desired count 2, in Terraform 1",),
        "jobs": ("it runs demo-dev-jobs:2, which orch did not register",),
    }
    assert by_name["web"].last_verdict is Verdict.SUCCEEDED
    assert [one.service for one in staging.services] == ["web"]
    assert (prod.note, prod.services, prod.troubles) == ("not applied", (), ())
    assert lost.services == ()
    assert {one.exit_code for one in lost.troubles} == {1}
    assert any("terraform/envs/lost" in one.message for one in lost.troubles)

    # What may be promoted.
    crossings = {(one.source, one.target): one for one in overview.crossings}
    assert list(crossings) == [("dev", "staging"), ("staging", "prod"), ("dev", "lost")]
    first = crossings["dev", "staging"]
    assert first.asks_for_plan
    (gate,) = first.gates
    assert (gate.service, gate.digest, gate.commit) == ("web", digest, commit)
    rows = {row.rule: row for row in gate.rows}
    assert [row.rule for row in gate.shut] == ["soak"]
    assert rows["soak"].opens_at is not None
    assert (rows["plan"].state, rows["registry"].state) == (State.SKIPPED, State.OPEN)
    assert crossings["staging", "prod"].trouble == Trouble("prod: not applied")
    assert crossings["dev", "lost"].trouble == Trouble("lost: it cannot be read")

    # Releases and metrics.
    assert [record.release.id for record in overview.releases] == [
        release(number)[0].id for number in range(1, 21)
    ]
    trends = {one.environment: one for one in overview.trends}
    assert set(trends) == {"dev", "staging", "prod"}
    assert (trends["dev"].whole.changes, trends["staging"].whole.changes) == (720, 0)
    assert trends["dev"].whole.change_failure_rate == pytest.approx(0.25)
    assert len(trends["dev"].weeks) == 12
    assert sum(week.changes for week in trends["dev"].weeks) > 11 * 7 * 24 - 1

    # The words of the commit are this checkout's.
    assert overview.titles == {commit: "Show the <b>basket</b>"}
    assert f'href="https://github.com/acme/demo/commit/{commit}"' in page
    assert "Show the &lt;b&gt;basket&lt;/b&gt;" in page

    ours = [call for call in cloud.calls()[before:] if "app/orch" in call.get("user_agent", "")]
    assert_only_reads_that_the_roles_may_make(ours)
    # Two thousand records cost no more calls than what is shown of them.
    records = Counter(
        call["operation"]
        for call in ours
        if call["account"] == DEV
        and call["service"] == "s3"
        and "orch/releases/" in str(call.get("parameters", {}))
    )
    assert records["GetObject"] <= 22
    assert records["ListObjectsV2"] <= 6


def assert_only_reads_that_the_roles_may_make(calls):
    """Each under the policy of its role in its own environment."""
    names = {DEV: "dev", STAGING: "staging", NEVER: "prod", LOST: "lost"}
    assert {call["account"] for call in calls} >= {DEV, STAGING, NEVER}
    for call in calls:
        assert re.match(r"Describe|Get|List|Head|BatchGet", call["operation"]), call
        role = re.search(r"md/role#(\w+)", call["user_agent"])
        environment, account_id = names[call["account"]], call["account"]
        place = permissions.Place(
            "aws", told.REGION, account_id, "demo", environment, told.bucket(account_id), ("jobs", "web")
        )
        for request in authorization.requests(call, project="demo", environment=environment):
            assert role is not None, call
            assert Role(role[1]) in {Role.PLAN, Role.DEPLOY}
            assert authorization.allows(permissions.policy(Role(role[1]), place), request), request


def test_a_lock_that_cannot_be_read_does_not_look_like_none(cloud, project, monkeypatch):
    """Elsewhere that is a warning, which a page would not show."""
    told.make(clients(cloud), project, "dev", DEV, Told("web", DIGEST, {}, repository=ELSEWHERE))
    told_events = []
    loaded, ready = readys(cloud, project, told_events)
    s3 = ready[0].session.acting_as(Role.DEPLOY).s3
    whole = s3.get_object

    def refuse(**request):
        if "locks" in request["Key"]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")
        return whole(**request)

    monkeypatch.setattr(s3, "get_object", refuse)
    overview = board_page.gather(loaded, ready[:1], now=NOW)
    (dev,) = overview.places
    assert [one.service for one in dev.services] == ["web"]
    (trouble,) = dev.troubles
    assert trouble.message.startswith("past releases and the lock of dev are not known: s3:GetObject")
    assert trouble.exit_code == 0
    assert "Not locked" not in board_html.render(overview)
    assert any(isinstance(event, Warned) for event in told_events)


def test_drift_of_terraform_is_told_where_an_issue_records_it(cloud, project, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    loaded, (dev, *_others) = readys(cloud, project, [])
    with GitHub(name="acme/demo").serving() as github:
        environ = {**dev.environ, "GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
        dev_in_actions = dataclasses.replace(dev, environ=environ)

        def record():
            return board_page._terraform_drift(loaded, dev_in_actions)

        assert record() is None
        github.issues[7] = Issue(
            7, "dev was changed outside Terraform", "<!-- orch:drift dev -->\nx", dict(BOT), ["orch-drift"]
        )
        told_open = record()
        assert told_open.sentence == "dev was changed outside Terraform (#7)"
        assert told_open.url.endswith("/acme/demo/issues/7")
        github.issues[7].state = "closed"
        assert record().sentence == "none since #7 was closed"
        github.permissions = {}
        assert record().sentence.startswith("not known: ")
        asked = len(github.calls)
        # Without a token nobody is asked.
        assert board_page._terraform_drift(loaded, dev) is None
        assert len(github.calls) == asked
        assert {path for _verb, path, _body in github.writes()} <= {"/graphql"}
