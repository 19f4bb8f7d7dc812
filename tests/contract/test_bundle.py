"""Sealed bundles with the real Terraform, KMS and S3: exactly the reviewed plan is applied, or a reason is told for each thing
that does not fit, and no plan in clear stays anywhere.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import store
from orchestrator.aws import Aws
from orchestrator.errors import AwsError, BundleError, TerraformError
from orchestrator.sandbox import control
from orchestrator.terraform import binary, bundle, compare, runner
from orchestrator.terraform.bundle import KmsKey, Manifest, SecretKey, Subject
from orchestrator.terraform.runner import StateIdentity
from tests.conftest import require_tool

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
CANARY = "canary-s3cret-2f81"
CONFIG = """
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "one" {
  input = "v1"
}
resource "terraform_data" "two" {
  input = var.password
}
output "orch" {
  value = { contract = 1, id = terraform_data.one.output }
}
"""
UNRELATED = 'resource "terraform_data" "unrelated" {\n  input = "x"\n}\n'
COMMIT, BASE = "a1" * 20, "b2" * 20
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = SecretKey(bytes(range(100, 132)))


def nothing(_event):
    pass


@pytest.fixture(scope="session")
def terraform():
    require_tool("terraform")
    return binary.find("terraform", ENVIRON)


def opened(terraform, path, text=CONFIG, *, environ=ENVIRON, password=CANARY, provider_mirror=""):
    path.mkdir(exist_ok=True)
    (path / "main.tf").write_text(text)
    root = runner.open_root_module(
        terraform,
        path,
        backend_config={},
        environ=environ | {"TF_VAR_password": password},
        aws_environ={},
        role="plan",
        provider_mirror=provider_mirror,
        lock_timeout_s=0,
        emit=nothing,
    )
    runner.init_if_needed(root)
    return root


@pytest.fixture
def open_root(tmp_path, terraform):
    def open_root(text=CONFIG, *, folder="root", **more):
        return opened(terraform, tmp_path / folder, text, **more)

    return open_root


def apply(root):
    saved = runner.plan(root, nothing)
    try:
        return runner.apply(root, saved, nothing)
    finally:
        saved.discard()


def subject(root, plan_file, state, **more):
    """As operations do: the state of the plan file when sealing, that of `terraform state pull` when applying."""
    facts = {
        "environment": "dev",
        "repository": "acme/shop",
        "pull_request": "12",
        "head_commit": COMMIT,
        "base_commit": BASE,
        "account_id": ACCOUNT,
        "region": REGION,
        "lineage": state.lineage,
        "serial": state.serial,
        "setup": bundle.setup(root),
        "plan_sha256": bundle.sha256(plan_file),
    }
    return Subject(**(facts | more))


def manifest_of(sealed):
    return Manifest(
        subject=sealed,
        created_at=bundle.written(NOW),
        expires_at=bundle.written(NOW + timedelta(days=1)),
        created_by="ana",
    )


def seal(root, key=KEY):
    saved = runner.plan(root, nothing)
    try:
        content = saved.file.read_bytes()
    finally:
        saved.discard()
    return bundle.seal(content, manifest_of(subject(root, content, bundle.planned_on(content))), key)


def refusals(root, blob, *, key=KEY, now=NOW, **more):
    manifest, content = bundle.open_(blob, key)
    actual = subject(root, content, runner.state_identity(root), **more)
    return compare.check(manifest, actual, now=now)


def files_with_canary(folder):
    return [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


# --- the happy path


def test_exactly_the_reviewed_plan_is_applied(open_root, tmp_path):
    root = open_root()
    blob = seal(root)
    # What came later into the folder is in no plan that was reviewed.
    open_root(CONFIG.replace('"v1"', '"v2"') + UNRELATED)
    assert refusals(root, blob) == ()
    manifest, content = bundle.open_(blob, KEY)
    restored = runner.restore(root, content)
    assert restored.file.stat().st_mode & 0o777 == 0o600
    assert restored.file.parent.stat().st_mode & 0o777 == 0o700
    assert restored.plan.is_applicable
    assert CANARY not in repr((restored.plan, restored.outputs, manifest))
    assert runner.apply(root, restored, nothing)["orch"] == {"contract": 1, "id": "v1"}
    restored.discard()
    assert not restored.file.parent.exists()
    state = json.loads((root.path / "terraform.tfstate").read_text())
    assert {
        item["name"]: item["instances"][0]["attributes"]["input"]["value"] for item in state["resources"]
    } == {
        "one": "v1",
        "two": CANARY,
    }


def test_it_is_applied_in_another_checkout_on_another_machine(open_root):
    first = open_root()
    apply(first)
    changed = open_root(CONFIG.replace('"v1"', '"v2"'))
    blob = seal(changed)
    other = open_root(CONFIG.replace('"v1"', '"v2"'), folder="other")
    shutil.copy(first.path / "terraform.tfstate", other.path)
    assert refusals(other, blob) == ()
    restored = runner.restore(other, bundle.open_(blob, KEY)[1])
    assert runner.apply(other, restored, nothing)["orch"]["id"] == "v2"
    restored.discard()


def test_no_plan_in_clear_stays(open_root, tmp_path):
    root = open_root()
    blob = seal(root)
    (tmp_path / "stored.bundle").write_bytes(blob)
    restored = runner.restore(root, bundle.open_(blob, KEY)[1])
    assert restored.file in [path for path in tmp_path.rglob("*") if path.is_file()]
    restored.discard()
    with pytest.raises(TerraformError):
        runner.restore(root, b"no plan file " + CANARY.encode())
    assert files_with_canary(tmp_path) == []


def test_sealed_plans_of_dead_runs_are_removed(open_root):
    root = open_root()
    left = root.data_dir / "orch" / "sealed-4194305"
    left.mkdir()
    (left / "plan.tfplan").write_text("secret")
    runner.plan(root, nothing).discard()
    assert not left.exists()


def test_a_restored_plan_stands_beside_a_fresh_one(open_root):
    root = open_root()
    restored = runner.restore(root, bundle.open_(seal(root), KEY)[1])
    fresh = runner.plan(root, nothing)
    assert restored.file.exists()
    assert fresh.file.exists()
    assert (
        compare.differences(
            compare.Reading(restored.plan, runner.show(root, restored.file)),
            compare.Reading(fresh.plan, runner.show(root, fresh.file)),
        )
        == ()
    )
    fresh.discard()
    restored.discard()


# --- tampered with, or meant for something else: refused, each with its own reason


@pytest.fixture(scope="module")
def reviewed(terraform, tmp_path_factory):
    """A sealed plan of v2, and the state that it was made on, of v1."""
    path = tmp_path_factory.mktemp("reviewed")
    apply(opened(terraform, path))
    blob = seal(opened(terraform, path, CONFIG.replace('"v1"', '"v2"')))
    return blob, (path / "terraform.tfstate").read_bytes()


class Handover:
    """A sealed plan on its way from who reviewed it to who applies it, and where it is to be applied. Terraform writes down each
    command that is started there.
    """

    def __init__(self, open_root, reviewed, tmp_path):
        self.open_root = open_root
        self.root = open_root(CONFIG.replace('"v1"', '"v2"'))
        self.blob, state = reviewed
        self.state_file.write_bytes(state)
        self.planned_on = self.state_now = runner.state_identity(self.root)
        self.terraform = self.root.binary.version
        self.key, self.now, self.facts, self.changed_at = KEY, NOW, {}, None
        self._log = tmp_path / "commands.log"
        self.forget_commands()
        spy = tmp_path / "terraform-spy"
        spy.write_text(f'#!/bin/sh\necho "$*" >> {self._log}\nexec {self.root.binary.argv[0]} "$@"\n')
        spy.chmod(0o755)
        self.root = dataclasses.replace(
            self.root, binary=binary.Binary((str(spy),), self.root.binary.path, self.root.binary.version)
        )

    @property
    def state_file(self):
        return self.root.path / "terraform.tfstate"

    def state(self):
        return self.state_file.read_bytes() if self.state_file.exists() else b""

    @property
    def commands(self):
        """The Terraform commands that were started."""
        return self._log.read_text().splitlines()

    def forget_commands(self):
        self._log.write_text("")

    def said(self):
        """Every reason why it is refused, word for word."""
        try:
            manifest, content = bundle.open_(self.blob, self.key)
        except BundleError as error:
            return [f"{error.message}; {error.hint}"]
        actual = subject(self.root, content, runner.state_identity(self.root), **self.facts)
        found = compare.check(manifest, actual, now=self.now, state_changed_at=self.changed_at)
        return [str(refusal) for refusal in found]


@pytest.fixture
def handover(open_root, reviewed, tmp_path):
    return Handover(open_root, reviewed, tmp_path)


def flipped(at):
    """One bit of the bundle is another; `at` counts from its end."""

    def happens(handover):
        blob = bytearray(handover.blob)
        blob[-at] ^= 1
        handover.blob = bytes(blob)

    return happens


def replaced(old, new):
    """Of the manifest, which everybody can read."""

    def happens(handover):
        assert handover.blob.count(old) == 1
        handover.blob = handover.blob.replace(old, new)

    return happens


def cut(length):
    def happens(handover):
        handover.blob = handover.blob[:length]

    return happens


def lengthened(handover):
    handover.blob += b"more"


def header_swapped(handover):
    """The header of another bundle of the same key, before this one's plan."""
    other = seal(handover.root)
    end, other_end = (14 + int.from_bytes(blob[10:14], "big") for blob in (handover.blob, other))
    handover.blob = other[:other_end] + handover.blob[end:]


def facts(**more):
    """Who applies it applies it to something else."""

    def happens(handover):
        handover.facts |= more

    return happens


def somebody_applies(handover):
    apply(handover.open_root(CONFIG + UNRELATED))
    handover.state_now = runner.state_identity(handover.root)
    handover.changed_at = datetime(2026, 3, 1, 14, 2, tzinfo=UTC)


def used_once(handover):
    restored = runner.restore(handover.root, bundle.open_(handover.blob, KEY)[1])
    assert runner.apply(handover.root, restored, nothing)["orch"]["id"] == "v2"
    restored.discard()
    handover.state_now = runner.state_identity(handover.root)
    handover.changed_at = datetime(2026, 3, 1, 14, 2, tzinfo=UTC)


def another_state(handover):
    handover.state_file.unlink()
    apply(handover.open_root())
    handover.state_now = runner.state_identity(handover.root)


def no_state(handover):
    handover.state_file.unlink()


def another_place_of_the_state(handover):
    """The same state under another key."""
    shutil.move(handover.state_file, handover.root.path / "moved.tfstate")
    handover.open_root(
        CONFIG.replace('"v1"', '"v2"')
        + 'terraform {\n  backend "local" {\n    path = "moved.tfstate"\n  }\n}\n'
    )


def another_version(handover):
    handover.root = dataclasses.replace(
        handover.root, binary=dataclasses.replace(handover.root.binary, version="1.99.0")
    )


REQUIRES = 'terraform {{\n  required_providers {{\n    tiny = {{\n      source  = "acme/tiny"\n      version = "{}"\n    }}\n  }}\n}}\n'


def another_provider(handover):
    """init has taken one version where it was sealed, and another where it is applied; nothing starts the provider."""
    told = subprocess.run([*handover.root.binary.argv, "version", "-json"], capture_output=True, check=True)
    mirror = handover.root.path.parent / "mirror"

    def init(version):
        platform = json.loads(told.stdout)["platform"]
        program = (
            mirror
            / "registry.terraform.io/acme/tiny"
            / version
            / platform
            / f"terraform-provider-tiny_v{version}"
        )
        program.parent.mkdir(parents=True)
        program.write_text(version)
        (handover.root.path / ".terraform.lock.hcl").unlink(missing_ok=True)
        root = handover.open_root(CONFIG + REQUIRES.format(version), provider_mirror=str(mirror))
        return dataclasses.replace(root, binary=handover.root.binary)

    sealing = init("6.1.0")
    content = bundle.open_(handover.blob, KEY)[1]
    handover.blob = bundle.seal(content, manifest_of(subject(sealing, content, handover.planned_on)), KEY)
    handover.root = init("6.2.0")


def another_checksum(handover):
    (handover.root.path / ".terraform.lock.hcl").write_text("# Another one.\n")


def another_key(handover):
    handover.key = SecretKey(bytes(range(32)))


def later(handover):
    handover.now += timedelta(days=1)


def earlier(handover):
    handover.now -= timedelta(hours=1)


ALTERED = "the sealed plan was altered: {}; plan, seal and review again"
CONTENTS = ALTERED.format("its contents are not those that were sealed")
STALE = (
    "serial: the sealed plan says {planned_on.serial}, but it is {state_now.serial}, last changed at 2026-03-01T14:02:00Z;"
    " the state was changed after the plan, which is stale: plan, seal and review again"
)
# What happens to the bundle, or around it, and the one reason that is told.
REFUSED = {
    "altered ciphertext": (flipped(500), CONTENTS),
    "altered tag": (flipped(1), CONTENTS),
    "environment in the manifest altered": (
        replaced(b'"environment":"dev"', b'"environment":"prd"'),
        CONTENTS,
    ),
    "expiry in the manifest altered": (replaced(b"2026-03-02T12", b"2036-03-02T12"), CONTENTS),
    "header of another bundle": (header_swapped, CONTENTS),
    "end cut off": (cut(-100), CONTENTS),
    "cut off within the header": (cut(400), ALTERED.format("it is cut off")),
    "more at the end": (lengthened, CONTENTS),
    "something else": (
        lambda handover: setattr(handover, "blob", b"PK" + handover.blob),
        "this is no sealed plan of orch; plan, seal and review again",
    ),
    "another key": (
        another_key,
        (
            "the sealed plan was sealed with another ORCH_SEAL_KEY, or its header was altered; give plan and apply the same"
            " ORCH_SEAL_KEY; after changing it, plan, seal and review again"
        ),
    ),
    "another environment": (
        facts(environment="prod"),
        "environment: the sealed plan says dev, but it is prod; apply it to the environment it was made for",
    ),
    "another repository": (
        facts(repository="mallory/shop"),
        "repository: the sealed plan says acme/shop, but it is mallory/shop; apply it from the repository it was made in",
    ),
    "another commit": (
        facts(head_commit="d4" * 20),
        f"head commit: the sealed plan says {COMMIT}, but it is {'d4' * 20}; check out that commit, or plan this one",
    ),
    "another base commit": (
        facts(base_commit="d4" * 20),
        (
            f"base commit: the sealed plan says {BASE}, but it is {'d4' * 20};"
            " the base moved since: plan, seal and review again"
        ),
    ),
    "another pull request": (
        facts(pull_request="13"),
        "pull request: the sealed plan says 12, but it is 13; apply the plan of this pull request",
    ),
    "another account": (
        facts(account_id="222222222222"),
        "account: the sealed plan says 111111111111, but it is 222222222222; if the move is meant, plan, seal and review again",
    ),
    "another region": (
        facts(region="us-east-1"),
        "region: the sealed plan says eu-central-1, but it is us-east-1; if the move is meant, plan, seal and review again",
    ),
    "another backend key": (
        another_place_of_the_state,
        (
            "state key: the sealed plan says terraform.tfstate, but it is moved.tfstate;"
            " if the move is meant, plan, seal and review again"
        ),
    ),
    "another Terraform": (
        another_version,
        (
            "version: the sealed plan says terraform {terraform}, but it is terraform 1.99.0;"
            " use one version for plan and apply"
        ),
    ),
    "another version of a provider": (
        another_provider,
        (
            "providers: the sealed plan says registry.terraform.io/acme/tiny 6.1.0, but it is"
            " registry.terraform.io/acme/tiny 6.2.0; check out the lock file of that commit, or plan, seal and review again"
        ),
    ),
    "another lock file": (
        another_checksum,
        (
            "providers: the sealed plan says a lock file of sha256 none, but it is a lock file of sha256"
            f" {bundle.sha256(b'# Another one.' + bytes([10]))[:16]}; check out the lock file of that commit, or plan, seal and"
            " review again"
        ),
    ),
    "stale serial": (somebody_applies, STALE),
    "used twice": (used_once, STALE),
    "another state": (
        another_state,
        (
            "lineage: the sealed plan says {planned_on.lineage}, but it is {state_now.lineage}; it is another state than the"
            " plan's, not a later one: plan, seal and review again"
        ),
    ),
    "the state is gone": (
        no_state,
        (
            "lineage: the sealed plan says {planned_on.lineage}, but it is none (the state is gone); it is another state than the"
            " plan's, not a later one: plan, seal and review again"
        ),
    ),
    "expired": (
        later,
        (
            "expires: the sealed plan says 2026-03-02T12:00:00Z, but it is 2026-03-02T12:00:00Z now; it has expired: plan, seal and"
            " review again"
        ),
    ),
    "from the future": (
        earlier,
        "created: the sealed plan says 2026-03-01T12:00:00Z, but it is 2026-03-01T11:00:00Z now; one of the clocks is wrong",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_for_this_reason_alone_and_terraform_plans_nothing(handover, case):
    assert handover.said() == []
    happens, reason = REFUSED[case]
    happens(handover)
    handover.forget_commands()
    before = handover.state()
    assert handover.said() == [reason.format(**vars(handover))]
    # All that Terraform was started for is to tell the state's serial; a bundle that does not open is not worth even that.
    does_open = not reason.startswith(("the sealed plan", "this is"))
    assert handover.commands == (["state pull"] if does_open else [])
    assert handover.state() == before


def test_what_is_refused_here_as_stale_terraform_refuses_too(handover):
    somebody_applies(handover)
    restored = runner.restore(handover.root, bundle.open_(handover.blob, KEY)[1])
    with pytest.raises(TerraformError) as caught:
        runner.apply(handover.root, restored, nothing)
    restored.discard()
    assert "Saved plan is stale" in "\n".join(caught.value.details)


def test_a_plan_for_the_first_apply_after_the_first_apply(open_root):
    root = open_root()
    blob = seal(root)
    assert bundle.open_(blob, KEY)[0].subject.serial == 0
    apply(root)
    (refusal,) = refusals(root, blob)
    assert str(refusal).startswith(
        f"serial: the sealed plan says 0, but it is {runner.state_identity(root).serial};"
    )
    assert compare.is_stale_only((refusal,))


@pytest.fixture
def session(cloud, tmp_path):
    environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
    return Aws(REGION, {"HOME": str(tmp_path), **environ})


def make_key(cloud, alias):
    kms = cloud.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=alias, TargetKeyId=key_id)
    return KmsKey(kms, alias)


def test_a_key_of_kms_that_was_made_for_another_manifest(open_root, cloud):
    root = open_root()
    key = make_key(cloud, "alias/shop-dev")
    blob = seal(root, key)
    altered = blob.replace(b'"environment":"dev"', b'"environment":"prd"')
    with pytest.raises(BundleError, match="encryption context"):
        refusals(root, altered, key=key, environment="prd")


# --- KMS


def test_a_bundle_sealed_with_kms_is_opened_by_its_context_alone(open_root, cloud):
    root = open_root()
    key = make_key(cloud, "alias/shop-dev")
    blob = seal(root, key)
    assert refusals(root, blob, key=key) == ()
    length = int.from_bytes(blob[10:14], "big")
    information = json.loads(blob[14 : 14 + length])["key"]
    assert information["kind"] == "kms"
    assert information["key_arn"].startswith(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/")
    # The sandbox holds to the context by itself: the same ciphertext opens under no other.
    with pytest.raises(BundleError, match="encryption context"):
        key.find(information, {"orch:environment": "dev"})
    said = [call["operation"] for call in cloud.calls()]
    assert said.count("GenerateDataKey") == 1


def test_another_key_of_kms(open_root, cloud):
    root = open_root()
    blob = seal(root, make_key(cloud, "alias/shop-dev"))
    other = make_key(cloud, "alias/shop-prod")
    # AWS says IncorrectKeyException (API_Decrypt), the sandbox AccessDeniedException; nobody gets the key.
    with pytest.raises((BundleError, AwsError)):
        refusals(root, blob, key=other)


def test_a_secret_does_not_pass_where_kms_is_asked_for(open_root, cloud):
    root = open_root()
    with pytest.raises(BundleError, match="kind 'secret', not 'kms'"):
        refusals(root, seal(root), key=make_key(cloud, "alias/shop-dev"))


def test_a_key_that_is_not_there_yet(open_root, cloud):
    with pytest.raises(AwsError) as caught:
        seal(open_root(), KmsKey(cloud.client("kms"), "alias/shop-dev"))
    assert caught.value.code == "NotFoundException"
    assert "made by its first apply" in caught.value.hint


# --- what Terraform says of the state


def test_only_lineage_and_serial_leave_the_state(open_root):
    root = open_root()
    assert runner.state_identity(root) == StateIdentity("", 0)
    apply(root)
    found = runner.state_identity(root)
    state = json.loads((root.path / "terraform.tfstate").read_text())
    assert found == StateIdentity(state["lineage"], state["serial"])
    assert CANARY not in repr(found)


def test_a_state_that_cannot_be_read_is_not_quoted(open_root):
    root = open_root()
    (root.path / "terraform.tfstate").write_text('{"version": 4, "canary": "' + CANARY)
    with pytest.raises(TerraformError) as caught:
        runner.state_identity(root)
    assert CANARY not in repr((caught.value.message, caught.value.details))


def test_a_failure_does_not_quote_what_was_read_of_the_state(open_root, tmp_path):
    broken = tmp_path / "terraform"
    broken.write_text(f"#!/bin/sh\necho '{CANARY}'\necho 'Error: no such bucket' >&2\nexit 1\n")
    broken.chmod(0o755)
    root = dataclasses.replace(open_root(), binary=binary.Binary((str(broken),), str(broken), "1.11.4"))
    with pytest.raises(TerraformError) as caught:
        runner.state_identity(root)
    assert caught.value.details == ("Error: no such bucket",)
    assert CANARY not in repr((caught.value.message, caught.value.details))


def test_what_is_planned_on_is_the_state_that_is_there(open_root):
    root = open_root()
    apply(root)
    saved = runner.plan(root, nothing)
    content = saved.file.read_bytes()
    saved.discard()
    assert bundle.planned_on(content) == runner.state_identity(root)


def test_a_plan_does_not_see_the_key_it_is_sealed_with(open_root):
    text = CONFIG + (
        'resource "terraform_data" "spy" {\n  provisioner "local-exec" {\n'
        '    command = "echo ${length(local.x)}; printenv ORCH_SEAL_KEY > seen || true"\n  }\n}\nlocals {\n  x = "y"\n}\n'
    )
    root = open_root(text, environ=ENVIRON | {"ORCH_SEAL_KEY": "the-key"})
    apply(root)
    assert (root.path / "seen").read_text() == ""


# --- equivalence


def reviewed_and_fresh(root, blob):
    restored = runner.restore(root, bundle.open_(blob, KEY)[1])
    fresh = runner.plan(root, nothing)
    try:
        return compare.differences(
            compare.Reading(restored.plan, runner.show(root, restored.file)),
            compare.Reading(fresh.plan, runner.show(root, fresh.file)),
        )
    finally:
        restored.discard()
        fresh.discard()


def test_a_stale_plan_may_be_the_same_as_a_new_one(open_root):
    text = CONFIG + UNRELATED
    root = open_root(text)
    apply(root)
    changed = text.replace('"v1"', '"v2"')
    blob = seal(open_root(changed))
    # Somebody changes, and changes back, what this plan does not touch.
    apply(open_root(text.replace('"x"', '"y"')))
    apply(open_root(text))
    root = open_root(changed)
    assert compare.is_stale_only(refusals(root, blob))
    assert reviewed_and_fresh(root, blob) == ()


def test_a_stale_plan_that_is_not_the_same_any_more_shows_the_difference(open_root):
    text = CONFIG + UNRELATED
    root = open_root(text)
    apply(root)
    changed = text.replace('"v1"', '"v2"')
    blob = seal(open_root(changed))
    apply(open_root(text.replace('"x"', '"y"')))
    found = reviewed_and_fresh(open_root(changed), blob)
    assert found == ("terraform_data.unrelated: update in the new plan alone",)


def test_a_secret_that_changed_since_is_a_difference_without_being_shown(open_root):
    root = open_root()
    apply(root)
    first = open_root(password="canary-first")
    blob = seal(first)
    second = open_root(password="canary-second")
    found = reviewed_and_fresh(second, blob)
    assert any(line.startswith("terraform_data.two: ") for line in found)
    assert "the values of input variables are not the same" in found
    assert "canary" not in repr(found)


# --- the store


def put(session, environment, commit, content=b"sealed"):
    return store.put_plan(
        session.s3, "orch-state", content, environment=environment, commit=commit, account_id=ACCOUNT
    )


@pytest.fixture
def bucket(session):
    store.create_bucket(session.s3, "orch-state", region=REGION, account_id=ACCOUNT)
    return {"bucket": "orch-state", "account_id": ACCOUNT}


def test_a_plan_is_stored_by_environment_and_commit(session, bucket):
    key = put(session, "dev", COMMIT)
    assert key == f"orch/plans/dev/{COMMIT}.bundle"
    found = session.s3.head_object(Bucket="orch-state", Key=key)
    assert found["Metadata"] == {"orch-environment": "dev", "orch-commit": COMMIT}
    assert store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket) == b"sealed"
    put(session, "dev", COMMIT, b"sealed again")
    assert store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket) == b"sealed again"


def test_a_plan_is_found_by_the_beginning_of_its_commit(session, bucket):
    for commit in (COMMIT, BASE, "a1b2" + COMMIT[4:]):
        put(session, "dev", commit)
    put(session, "prod", "c3" * 20)
    s3 = session.s3
    assert store.find_plan(s3, environment="dev", commit="b2b2", **bucket) == BASE
    assert store.find_plan(s3, environment="dev", commit=COMMIT, **bucket) == COMMIT
    with pytest.raises(BundleError, match="there is no sealed plan of commit c3c3") as caught:
        store.find_plan(s3, environment="dev", commit="c3c3", **bucket)
    assert caught.value.exit_code == 21
    assert "orch plan --env dev --seal" in caught.value.hint
    assert f"there is one of {BASE}" in caught.value.details
    assert "c3" * 20 not in repr(caught.value.details)
    put(session, "dev", "a1a1" + "0" * 36)
    with pytest.raises(BundleError, match="2 sealed plans") as caught:
        store.find_plan(s3, environment="dev", commit="a1a1", **bucket)
    assert set(caught.value.details) == {COMMIT, "a1a1" + "0" * 36}
    for nonsense in ("", "HEAD", "../x", "A1A1"):
        with pytest.raises(BundleError, match="is no commit"):
            store.find_plan(s3, environment="dev", commit=nonsense, **bucket)


def test_a_plan_that_is_not_there(session, bucket):
    with pytest.raises(BundleError, match="there is no sealed plan of commit a1a1"):
        store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket)


@pytest.mark.parametrize(
    ("environment", "commit", "reason"),
    [
        (
            "prod",
            COMMIT,
            "environment: the sealed plan says dev, but it is prod; apply it to the environment it was made for",
        ),
        (
            "dev",
            BASE,
            f"head commit: the sealed plan says {COMMIT}, but it is {BASE}; check out that commit, or plan this one",
        ),
    ],
    ids=["of another environment", "of another commit"],
)
def test_a_bundle_in_the_place_of_another_is_refused(open_root, session, bucket, environment, commit, reason):
    """Who may write to the bucket copies a good bundle to where another is looked for."""
    root = open_root()
    copied = seal(root)
    put(session, environment, commit, copied)
    found = store.find_plan(session.s3, environment=environment, commit=commit, **bucket)
    blob = store.get_plan(session.s3, environment=environment, commit=found, **bucket)
    assert blob == copied
    said = refusals(root, blob, environment=environment, head_commit=found)
    assert [str(refusal) for refusal in said] == [reason]


def test_every_request_names_the_account_that_the_bucket_must_belong_to(session, bucket):
    # The sandbox does not hold to it, so what S3 would refuse is told by what is sent.
    said = []
    session.s3.meta.events.register(
        "before-send.s3", lambda request, **_rest: said.append(request.headers["x-amz-expected-bucket-owner"])
    )
    put(session, "dev", COMMIT)
    store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket)
    store.find_plan(session.s3, environment="dev", commit=COMMIT, **bucket)
    store.last_modified(session.s3, key="dev/terraform.tfstate", **bucket)
    assert said == [ACCOUNT.encode()] * 4


def test_when_the_state_last_changed(session, bucket):
    assert store.last_modified(session.s3, key="dev/terraform.tfstate", **bucket) is None
    session.s3.put_object(Bucket="orch-state", Key="dev/terraform.tfstate", Body=b"{}")
    at = store.last_modified(session.s3, key="dev/terraform.tfstate", **bucket)
    assert at is not None
    assert at.tzinfo is not None


def test_old_sealed_plans_expire(session, bucket):
    rules = session.s3.get_bucket_lifecycle_configuration(Bucket="orch-state")["Rules"]
    (rule,) = [rule for rule in rules if rule.get("Expiration", {}).get("Days")]
    assert rule["Filter"] == {"Prefix": "orch/plans/"}
    assert rule["Expiration"] == {"Days": 30}


def test_from_the_plan_through_the_store_to_the_apply(open_root, session, cloud, bucket):
    root = open_root()
    key = make_key(cloud, "alias/shop-dev")
    put(session, "dev", COMMIT, seal(root, key))
    commit = store.find_plan(session.s3, environment="dev", commit=COMMIT[:8], **bucket)
    blob = store.get_plan(session.s3, environment="dev", commit=commit, **bucket)
    assert refusals(root, blob, key=key) == ()
    restored = runner.restore(root, bundle.open_(blob, key)[1])
    assert runner.apply(root, restored, nothing)["orch"]["id"] == "v1"
    restored.discard()
