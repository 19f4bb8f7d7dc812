"""operations/promote between two accounts and regions of the sandbox, on its clock: what is refused changes nothing at all."""

from __future__ import annotations

import functools
import json
import subprocess
from datetime import UTC, datetime

import pytest

from orchestrator import settings, store
from orchestrator.aws import Aws
from orchestrator.ecs import rollout
from orchestrator.errors import (
    DeclinedError,
    EnvironmentLockedError,
    InterruptedByUserError,
    OrchError,
    PreconditionError,
    RefusedError,
)
from orchestrator.events import GateJudged, Steps
from orchestrator.image import manifests
from orchestrator.model import Contract, Image, Override, PromotedFrom, Release, ServiceContract, Verdict
from orchestrator.operations import promote, survey
from orchestrator.operations.plan_all import Ready
from orchestrator.operations.survey import Asked, Ends
from orchestrator.sandbox import control
from tests.contract.github_fake import TOKEN, Answer, GitHub

pytest_plugins = ("tests.contract.sandbox_fixtures",)
PLACES = {"staging": ("222222222222", "eu-central-1"), "prod": ("333333333333", "eu-west-1")}
OLD, NEW = b"old", b"new"
COMMIT = "c0ffee" * 6 + "abcd"
TOML = """
project = "demo"
region = "eu-central-1"

[services.web]

[environments.dev]
account_id = "111111111111"

[environments.staging]
account_id = "222222222222"
promotes_from = "dev"

[environments.prod]
account_id = "333333333333"
region = "eu-west-1"
promotes_from = "staging"
"""
SOAK = "[environments.prod.promotion]\nsoak_minutes = 30\n"
BREAKER = {
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
}


@functools.cache
def session(sandbox, account, region):
    """Made once: a client takes longer to make than most of these tests."""
    environ = control.aws_environment(sandbox, account_id=account, region=region)
    return Aws(region, {"HOME": "/nonexistent", **environ})


class Story:
    """staging runs a release, prod waits for its first; no Terraform takes part."""

    def __init__(self, cloud, tmp_path, more=""):
        self.cloud, self.root, self.events, self.now_s = cloud, tmp_path, [], 0.0
        (tmp_path / "orch.toml").write_text(TOML + more)
        self.environ = {"HOME": "/nonexistent"}
        self.contracts = {env: self.make(env) for env in PLACES}
        self.digests = {content: self.push("staging", content) for content in (OLD, NEW)}
        self.released = 0

    @property
    def settings(self):
        return settings.load(self.root / "orch.toml")

    def session(self, env):
        return session(self.cloud.sandbox, *PLACES[env])

    def make(self, env):
        ours, cluster = self.session(env), f"demo-{env}"
        account, region = PLACES[env]
        store.create_bucket(ours.s3, f"orch-state-{account}-{region}", region=region, account_id=account)
        ours.ecs.create_cluster(clusterName=cluster)
        made = ours.ecr.create_repository(repositoryName=f"{cluster}/web", imageTagMutability="IMMUTABLE")
        url = made["repository"]["repositoryUri"]
        skeleton = self.register(env, f"{url}:skeleton")
        ours.ecs.create_service(
            cluster=cluster,
            serviceName="web",
            taskDefinition=skeleton,
            desiredCount=0,
            deploymentConfiguration=BREAKER,
        )
        service = ServiceContract(
            "web", url, cluster, "web", "web", skeleton, f"{cluster}-web", "", "", "", 1
        )
        return Contract(account, region, (service,))

    def register(self, env, image, behaviour="", **tags):
        container = {"name": "web", "image": image, "memory": 128, "essential": True}
        if behaviour:
            container["environment"] = [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": behaviour}]
        made = self.session(env).ecs.register_task_definition(
            family=f"demo-{env}-web",
            containerDefinitions=[container],
            tags=[{"key": f"orch:{key.replace('_', '-')}", "value": value} for key, value in tags.items()],
        )
        return made["taskDefinition"]["taskDefinitionArn"]

    def push(self, env, content):
        """A manifest without layers in ECR; its digest."""
        ecr, name = self.session(env).ecr, f"demo-{env}/web"
        config = {"mediaType": manifests.IMAGE_TYPES[0].replace("manifest", "config"), "size": 2}
        document = {
            "schemaVersion": 2,
            "mediaType": manifests.IMAGE_TYPES[0],
            "config": config | {"digest": self.blob(ecr, name)},
            "layers": [],
            "annotations": {"content": content.decode()},
        }
        put = ecr.put_image(
            repositoryName=name, imageManifest=json.dumps(document), imageTag=content.decode()
        )
        return put["image"]["imageId"]["imageDigest"]

    def blob(self, ecr, name):
        """An empty config, uploaded as ECR's own API does it."""
        upload = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
        ecr.upload_layer_part(
            repositoryName=name, uploadId=upload, partFirstByte=0, partLastByte=1, layerPartBlob=b"{}"
        )
        digest = manifests.digest_of(b"{}")
        ecr.complete_layer_upload(repositoryName=name, uploadId=upload, layerDigests=[digest])
        return digest

    def release(self, content=NEW, *, tag=COMMIT, env="staging", behaviour="", is_released=True, wait_s=60):
        """A release to the source, as a run of orch leaves it; returns the revision and the release's id."""
        self.released += 1
        release_id = f"20260701T0{self.released}0000Z-aaaaaa"
        url = self.contracts[env].services[0].repository_url
        tags = {"release": release_id, "git_sha": tag}
        if is_released:
            tags["released_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        arn = self.register(env, f"{url}@{self.digests[content]}", behaviour, **tags)
        self.update(env, arn)
        self.cloud.advance(wait_s)
        return arn, release_id

    def update(self, env, arn, **more):
        self.session(env).ecs.update_service(
            cluster=f"demo-{env}", service="web", taskDefinition=arn, **{"desiredCount": 1, **more}
        )

    def record(self, arn, release_id, verdict=Verdict.SUCCEEDED, content=NEW):
        """The record of a release to the source."""
        account, region = PLACES["staging"]
        url = self.contracts["staging"].services[0].repository_url
        done = Release(
            id=release_id,
            environment="staging",
            service="web",
            account_id=account,
            region=region,
            image=Image(url, self.digests[content]),
            commit=COMMIT,
            revision_arn=arn,
            verdict=verdict,
            reason="",
            running_count=1,
            desired_count=1,
            actor="alice",
            started_at="2026-07-01T01:00:00+00:00",
            durations_s={},
        )
        bucket = f"orch-state-{account}-{region}"
        store.put_release(self.session("staging").s3, bucket, done, at=datetime.now(UTC))

    @property
    def ends(self):
        loaded = self.settings
        ready = {
            env: Ready(loaded.environment(env), self.session(env), self.environ, Steps(self.events.append))
            for env in PLACES
        }
        return Ends(
            loaded, ready["staging"], ready["prod"], self.contracts["staging"], self.contracts["prod"]
        )

    def promote(self, *, patience=None, approve=lambda _gates: True, reason="", **asked):
        asked.setdefault("names", ("web",))
        return promote.carry(
            self.ends,
            Asked(**asked),
            patience=patience or promote.Patience(),
            approve=approve,
            reason=reason,
            clock=rollout.Clock(now=lambda: self.now_s, sleep=self.sleep, jitter=lambda: 1.0),
        )

    def sleep(self, duration_s):
        self.now_s += duration_s
        self.cloud.advance(duration_s)

    def gate(self):
        (one,) = survey.survey(self.ends, Asked(("web",)))
        return one.gate

    def lock(self, reason):
        from orchestrator.operations import lock as locking

        ends = self.ends
        locking.lock(
            ends.settings,
            ends.target.environment,
            reason=reason,
            lifetime_s=None,
            session=ends.target.session,
            environ=self.environ,
            steps=ends.target.steps,
        )

    def writes(self, since):
        return [
            f"{call['account']} {call['operation']}"
            for call in self.cloud.calls()[since:]
            if call.get("operation")
            and not call["operation"].startswith(("Describe", "List", "Get", "Head", "Batch"))
        ]


@pytest.fixture
def story(cloud, tmp_path):
    return Story(cloud, tmp_path)


def test_the_digest_the_provenance_and_the_record_arrive(story):
    _arn, release_id = story.release()
    (done,) = story.promote()
    assert (done.verdict, done.image.digest, done.commit) == (Verdict.SUCCEEDED, story.digests[NEW], COMMIT)
    assert done.promoted_from == PromotedFrom("staging", release_id)
    prod = story.session("prod")
    described = prod.ecs.describe_task_definition(taskDefinition="demo-prod-web", include=["TAGS"])
    tags = {tag["key"]: tag["value"] for tag in described["tags"]}
    assert tags["orch:promoted-from"] == f"staging/{release_id}"
    assert tags["orch:git-sha"] == COMMIT
    (image,) = prod.ecr.describe_images(repositoryName="demo-prod/web")["imageDetails"]
    assert (image["imageDigest"], image["imageTags"]) == (story.digests[NEW], [COMMIT])
    since = len(story.cloud.calls())
    (again,) = story.promote()
    assert again.verdict is Verdict.NO_CHANGE
    # Its lock alone was taken and given back.
    assert story.writes(since) == ["333333333333 PutObject", "333333333333 DeleteObject"]


def test_nothing_of_the_source_is_touched(story):
    story.release()
    since = len(story.cloud.calls())
    story.promote()
    assert {line.split()[0] for line in story.writes(since)} == {"333333333333"}


# --- what is refused


def not_soaked(story):
    story.release(wait_s=0)
    story.cloud.advance(90)


def failing(story):
    story.release()
    story.session("staging").ecs.update_service(
        cluster="demo-staging",
        service="web",
        deploymentConfiguration=BREAKER | {"deploymentCircuitBreaker": {"enable": True, "rollback": False}},
    )
    story.cloud.advance(60)
    story.release(behaviour="crash", is_released=False, wait_s=120)


def rolled_back(story):
    story.release(OLD, tag="0" * 40)
    story.release(behaviour="crash", is_released=False, wait_s=200)


def rolling_out(story):
    story.release(behaviour="slow:600", wait_s=5)


def deployed_by_hand(story):
    story.release()
    url = story.contracts["staging"].services[0].repository_url
    story.update("staging", story.register("staging", f"{url}@{story.digests[OLD]}"))
    story.cloud.advance(60)


def unrecorded(story):
    story.release(is_released=False)


def nothing_released(_story):
    pass


def scaled_to_nothing(story):
    arn, _ = story.release()
    story.update("staging", arn, desiredCount=0)
    story.cloud.advance(60)


def frozen(story):
    story.release()
    freeze = '[[environments.prod.gates.freeze]]\nname = "holidays"\nstart = 2020-01-01\nend = 2999-01-01\n'
    (story.root / "orch.toml").write_text(TOML + freeze)


def locked(story):
    story.release()
    story.lock("the database moves")


def expired(story):
    story.release()
    story.session("staging").ecr.batch_delete_image(
        repositoryName="demo-staging/web", imageIds=[{"imageDigest": story.digests[NEW]}]
    )


def tag_taken(story):
    story.release(tag="new")
    other = story.push("prod", OLD)
    ecr = story.session("prod").ecr
    given = ecr.batch_get_image(repositoryName="demo-prod/web", imageIds=[{"imageDigest": other}])
    ecr.put_image(
        repositoryName="demo-prod/web", imageManifest=given["images"][0]["imageManifest"], imageTag="new"
    )


def target_by_hand(story):
    story.release()
    story.update("prod", story.register("prod", "registry.example/web:latest"))
    story.cloud.advance(60)


def target_rolls_out(story):
    story.release()
    story.update("prod", story.register("prod", "registry.example/web:latest", "slow:600", release="r"))
    story.cloud.advance(5)


def skipped_environment(story):
    story.release()
    (story.root / "orch.toml").write_text(TOML.replace('promotes_from = "staging"', 'promotes_from = "dev"'))


def branch_not_allowed(story):
    git(story.root, "init", "-q", "-b", "main")
    git(story.root, "commit", "-qm", "one", "--allow-empty")
    git(story.root, "switch", "-qc", "feature")
    git(story.root, "commit", "-qm", "two", "--allow-empty")
    story.release(tag=git(story.root, "rev-parse", "HEAD"))
    (story.root / "orch.toml").write_text(TOML + '[environments.prod.promotion]\nbranches = ["main"]\n')


def branch_not_known(story):
    git(story.root, "init", "-q", "-b", "main")
    story.release()
    (story.root / "orch.toml").write_text(TOML + '[environments.prod.promotion]\nbranches = ["main"]\n')


def dirty_tree(story):
    story.release(tag=f"{COMMIT}-dirty-1234")
    (story.root / "orch.toml").write_text(TOML + '[environments.prod.promotion]\nbranches = ["main"]\n')


def no_token(story):
    story.release()
    (story.root / "orch.toml").write_text(
        TOML
        + '[github]\nrepository = "acme/shop"\n[environments.prod.promotion]\nrequired_checks = ["test"]\nbranches = []\n'
    )


def missing_in_the_source(story):
    story.release()
    story.contracts["staging"] = Contract(*PLACES["staging"], ())


def missing_in_the_target(story):
    story.release()
    story.contracts["prod"] = Contract(*PLACES["prod"], ())


def gone_in_the_target(story):
    story.release()
    story.session("prod").ecs.delete_service(cluster="demo-prod", service="web", force=True)
    story.cloud.advance(120)


REFUSED = {
    not_soaked: (20, "web: soaked: 1 min of 30 min in staging: opens in 29 min"),
    failing: (20, "web: verdict: the rollout of demo-staging-web:3 failed in staging"),
    rolled_back: (
        20,
        "web: verdict: ECS rolled demo-staging-web:3 back in staging: what runs is an older release",
    ),
    rolling_out: (20, "web: verdict: staging is rolling demo-staging-web:2 out"),
    deployed_by_hand: (
        20,
        "web: image: orch did not register demo-staging-web:3, so its image is not known",
    ),
    unrecorded: (20, "web: verdict: how the rollout of demo-staging-web:2 in staging ended is not on record"),
    nothing_released: (20, "web: verdict: nothing was ever released to staging"),
    scaled_to_nothing: (20, "web: healthy now: the desired count in staging is 0: nothing proves it"),
    frozen: (20, "web: freeze: prod is frozen: holidays until 2999-01-02 00:00 UTC"),
    locked: (22, "web: lock: prod is locked by orch lock of "),
    expired: (20, "demo-staging/web has no sha256:"),
    tag_taken: (20, "web: tag in the target: new is sha256:"),
    target_by_hand: (20, "web: as orch left it: prod runs demo-prod-web:2, which orch did not register"),
    target_rolls_out: (20, "web: no other rollout: prod is rolling out"),
    skipped_environment: (20, "web: path: prod promotes from dev, not from staging"),
    branch_not_allowed: (20, " is not on main"),
    branch_not_known: (20, "is not known: this checkout does not have the commit"),
    dirty_tree: (20, "web: branch: the image was built from a working tree that differs from c0ffeec0ffee"),
    no_token: (
        20,
        "web: checks: GitHub's checks are not known: there is no token for GitHub's repository acme/shop",
    ),
    missing_in_the_source: (20, "web: service: staging has no service web"),
    missing_in_the_target: (20, "web: service: prod has no service web"),
    gone_in_the_target: (20, "web: no other rollout: ECS has no service web in prod"),
}


@pytest.mark.parametrize("fault", REFUSED, ids=lambda fault: fault.__name__)
def test_what_is_refused_says_why_and_changes_nothing(cloud, tmp_path, fault):
    code, sentence = REFUSED[fault]
    story = Story(cloud, tmp_path, SOAK if fault is not_soaked else "")
    fault(story)
    since = len(cloud.calls())
    with pytest.raises(OrchError) as caught:
        story.promote()
    assert caught.value.exit_code == code
    assert isinstance(caught.value, EnvironmentLockedError if code == 22 else RefusedError)
    assert any(sentence in line for line in caught.value.details), caught.value.details
    assert caught.value.hint
    assert story.writes(since) == []


def test_a_required_check_of_the_commit(story, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    no_token(story)
    with GitHub().serving() as github:
        story.environ |= {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
        for conclusion, sentence in (("failure", "it ended with failure"), (None, "it is in progress")):
            run = {
                "name": "test",
                "status": "completed" if conclusion else "in_progress",
                "conclusion": conclusion,
            }
            github.next_answers["GET /check-runs"] = [Answer(200, {"total_count": 1, "check_runs": [run]})]
            with pytest.raises(RefusedError) as caught:
                story.promote()
            assert f"web: check test: {sentence}" in caught.value.details
        run = {"name": "test", "status": "completed", "conclusion": "success"}
        github.next_answers["GET /check-runs"] = [
            Answer(200, {"total_count": 1, "check_runs": [run]}) for _ in range(2)
        ]
        (done,) = story.promote()
    assert done.verdict is Verdict.SUCCEEDED


# --- waiting, overriding, by id


def test_waiting_for_the_soak(cloud, tmp_path):
    story = Story(cloud, tmp_path, SOAK)
    not_soaked(story)
    slept = []

    def sleep(duration_s):
        slept.append(duration_s)
        cloud.advance(600)

    patience = promote.Patience(7200, sleep=sleep, now=lambda: 0.0)
    (done,) = story.promote(patience=patience)
    assert done.verdict is Verdict.SUCCEEDED
    assert slept
    assert max(slept) <= 30
    states = [event.gate.is_open for event in story.events if isinstance(event, GateJudged)]
    assert states == [False, True]


def test_no_waiting_for_what_will_not_open(story):
    rolled_back(story)
    with pytest.raises(RefusedError):
        story.promote(patience=promote.Patience(7200, sleep=pytest.fail))


def test_a_wait_that_is_interrupted_changed_nothing(cloud, tmp_path):
    story = Story(cloud, tmp_path, SOAK)
    not_soaked(story)

    def interrupt(_duration_s):
        raise KeyboardInterrupt

    since = len(cloud.calls())
    with pytest.raises(InterruptedByUserError, match="nothing was changed"):
        story.promote(patience=promote.Patience(60, sleep=interrupt))
    assert story.writes(since) == []


def test_an_override_is_on_record(cloud, tmp_path):
    story = Story(cloud, tmp_path, SOAK)
    not_soaked(story)
    (done,) = story.promote(overrides=(Override("soak", "an incident"),))
    assert (done.verdict, done.overrides) == (Verdict.SUCCEEDED, (Override("soak", "an incident"),))


def test_a_path_that_is_left_is_on_record(story):
    skipped_environment(story)
    (done,) = story.promote(skips_path=True, reason="staging is broken")
    assert (done.verdict, done.overrides) == (Verdict.SUCCEEDED, (Override("path", "staging is broken"),))


def test_what_is_not_approved_is_not_done(story):
    story.release()
    since = len(story.cloud.calls())
    with pytest.raises(DeclinedError, match="nothing was changed"):
        story.promote(approve=lambda _gates: False)
    assert story.writes(since) == []


def test_an_earlier_release_by_its_id(story):
    arn, release_id = story.release(OLD, tag="0" * 40)
    story.record(arn, release_id, content=OLD)
    newer, newer_id = story.release()
    story.record(newer, newer_id)
    (done,) = story.promote(release_id=release_id)
    assert (done.image.digest, done.promoted_from.release_id) == (story.digests[OLD], release_id)
    with pytest.raises(PreconditionError, match="staging has no release 20200101T000000Z-aaaaaa of web"):
        story.promote(release_id="20200101T000000Z-aaaaaa")


def test_a_release_that_did_not_succeed_is_not_promoted_by_its_id(story):
    arn, release_id = story.release()
    story.record(arn, release_id, Verdict.ROLLED_BACK)
    with pytest.raises(RefusedError) as caught:
        story.promote(release_id=release_id)
    assert f"web: verdict: release {release_id} of staging did not succeed" in caught.value.details


def test_a_release_that_failed_in_the_target_is_tried_again(story):
    story.release()
    overlay = '{"containerDefinitions": [{"name": "web", "environment": [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": "VALUE"}]}]}'
    with_overlay = TOML.replace("[services.web]\n", '[services.web]\ntask_definition = "web.json.j2"\n')
    (story.root / "orch.toml").write_text(with_overlay + "[rollout]\ntimeout_s = 5\n")
    (story.root / "web.json.j2").write_text(overlay.replace("VALUE", "slow:60"))
    (timed_out,) = story.promote()
    assert timed_out.verdict is Verdict.TIMED_OUT
    story.cloud.advance(120)
    (done,) = story.promote()
    assert done.verdict is Verdict.SUCCEEDED
    assert timed_out.revision_arn == done.revision_arn


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
