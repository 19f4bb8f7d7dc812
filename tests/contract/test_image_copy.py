"""image/copy.py on the sandbox's registry: digests, what belongs to an image, broken connections, and every refusal."""

from __future__ import annotations

import datetime as dt
import functools
import json
import random
import ssl
import subprocess
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.aws import Aws
from orchestrator.errors import AwsError, ImageError
from orchestrator.events import CopyProgress, Warned
from orchestrator.image import copy, ecr, manifests
from orchestrator.image.copy import Copied, Side
from orchestrator.image.distribution import Repository
from orchestrator.sandbox import control
from tests.conftest import require_tool
from tests.contract.registry_proxy import Fault, between

pytest_plugins = ("tests.contract.sandbox_fixtures",)
DEV, PROD = "111111111111", "222222222222"
IMAGE, INDEX = manifests.IMAGE_TYPES[0], manifests.INDEX_TYPES[0]
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
MB = 1_000_000


@functools.cache
def session(sandbox, account, region):
    """Made once: a client takes longer to make than most of these tests."""
    environ = control.aws_environment(sandbox, account_id=account, region=region)
    return Aws(region, {"HOME": "/nonexistent", **environ}, role="push")


class Story:
    """A source repository with images, a target repository, and what happened between them."""

    def __init__(self, cloud, *, account=PROD, region="eu-west-1"):
        self.cloud, self.events, self.slept = cloud, [], []
        self.dev, self.prod = self.session(DEV, "eu-central-1"), self.session(account, region)
        self.source_url = self.make(self.dev, "demo-dev/web")
        self.target_url = self.make(self.prod, "demo-prod/web")
        self.out = self.open(self.source_url, self.dev)
        self.into = self.open(self.target_url, self.prod)

    def session(self, account, region):
        return session(self.cloud.sandbox, account, region)

    def make(self, session, name):
        made = session.ecr.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
        return made["repository"]["repositoryUri"]

    def open(self, url, session):
        return Repository(url, log_in=lambda: ecr.log_in(session.ecr, url), environ={}, user_agent="test")

    def close(self):
        self.out.close()
        self.into.close()

    # --- images

    def blob(self, content, kind=LAYER):
        digest = manifests.digest_of(content)
        if not self.out.has_blob(digest):
            upload = self.out.send(self.out.start_upload(), len(content), [content])
            self.out.finish(upload, digest)
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def put(self, document, tag=None):
        """The spaces are what a copy that writes JSON anew would lose."""
        manifest = manifests.read(json.dumps(document, indent=3).encode(), "")
        self.out.put_manifest(manifest, tag)
        return manifest

    def image(self, *layers, tag=None, **more):
        config = self.blob(json.dumps({"layers": len(layers), "random": random.random()}).encode(), CONFIG)
        document = {"schemaVersion": 2, "mediaType": IMAGE, "config": config}
        return self.put(document | {"layers": [self.blob(layer) for layer in layers]} | more, tag)

    def index(self, *children, tag=None):
        listed = [
            described(child) | {"platform": {"os": "linux", "variant": str(number)}}
            for number, child in enumerate(children)
        ]
        return self.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, tag)

    def about(self, subject, content, tag=None, **more):
        """An artifact: with a subject found by the referrers API, with a tag alone as cosign does it."""
        document = {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "artifactType": "application/example",
            "config": self.blob(b"{}", CONFIG),
        }
        subject = {} if subject is None else {"subject": described(subject)}
        return self.put(document | {"layers": [self.blob(content, SIGNATURE)]} | subject | more, tag)

    # --- the copy

    def copy(self, digest, *tags, source=None, target=None, reader=None):
        return copy.copy(
            Side(source or self.source_url, reader or self.dev),
            Side(target or self.target_url, self.prod),
            digest,
            tags=tags,
            emit=self.events.append,
            sleep=self.slept.append,
        )

    def has(self, *wanted):
        """Every manifest is at the target, byte for byte, and each blob with the bytes of its digest."""
        for manifest in wanted:
            there = self.into.manifest(manifest.digest)
            assert there is not None, manifest
            assert (there.content, there.media_type) == (manifest.content, manifest.media_type)
            for blob in manifest.blobs:
                with self.into.blob(blob.digest, 0) as pieces:
                    assert manifests.digest_of(b"".join(pieces)) == blob.digest

    @property
    def writes(self):
        reads = {
            "BatchGetImage",
            "BatchCheckLayerAvailability",
            "GetDownloadUrlForLayer",
            "ListImageReferrers",
        }
        reads |= {"GetAuthorizationToken", "DescribeImages", "GetCallerIdentity", ""}
        return [call["operation"] for call in self.cloud.calls() if call["operation"] not in reads]

    @property
    def warnings(self):
        return [event.message for event in self.events if isinstance(event, Warned)]


def described(manifest):
    return {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}


def stem(manifest):
    return manifest.digest.replace(":", "-")


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def story(cloud):
    made = Story(cloud)
    yield made
    made.close()


def test_an_image_arrives_in_another_account_and_region_with_its_digest(story):
    image = story.image(b"one", b"two", tag="r1")
    done = story.copy(image.digest, "r1", "production-1")
    size = sum(blob.size for blob in image.blobs)
    assert done == Copied(image.digest, size, 3, 0, 0, manifests=1, referrers=0)
    story.has(image)
    there = story.prod.ecr.describe_images(repositoryName="demo-prod/web")["imageDetails"]
    assert [(one["imageDigest"], sorted(one["imageTags"])) for one in there] == [
        (image.digest, ["production-1", "r1"])
    ]
    assert [event for event in story.events if isinstance(event, CopyProgress)][-1] == CopyProgress(
        f"{story.target_url}@{image.digest}", size, size
    )
    agents = {
        call["user_agent"] for call in story.cloud.calls() if call["operation"] == "CompleteLayerUpload"
    }
    assert any("md/role#push" in agent for agent in agents), "the work is done by the role"


def test_what_is_there_is_not_sent_again(story):
    shared = noise(1000)
    first, second = story.image(shared, b"a"), story.image(shared, b"b")
    story.copy(first.digest, "r1")
    begun = len(story.writes)
    assert story.copy(first.digest, "r1").bytes_copied == 0
    assert len(story.writes) == begun, "the second run changes nothing"
    done = story.copy(second.digest, "r2")
    assert (done.blobs_copied, done.blobs_present) == (2, 1)
    assert done.bytes_copied == sum(blob.size for blob in second.blobs) - len(shared)


def test_an_index_arrives_with_platforms_signatures_and_attestations(story):
    amd, arm = story.image(b"amd64", b"base"), story.image(b"arm64", b"base")
    index = story.index(amd, arm, tag="r1")
    signature = story.about(None, b"signed", tag=f"{stem(index)}.sig")
    attestation = story.about(None, b"attested", tag=f"{stem(amd)}.att")
    bill = story.about(arm, b"bill of materials")
    signed_bill = story.about(bill, b"the bill, signed")
    listed = story.about(None, b"found by the fallback tag")
    fallback = story.index(listed, tag=stem(signed_bill))

    done = story.copy(index.digest, "r1")

    story.has(amd, arm, index, signature, attestation, bill, signed_bill, listed, fallback)
    assert (done.manifests, done.referrers, done.refused) == (3, 6, ())
    tagged = {f"{stem(index)}.sig": signature, f"{stem(amd)}.att": attestation, stem(signed_bill): fallback}
    for tag, manifest in tagged.items():
        assert story.into.manifest(tag).digest == manifest.digest
    assert story.into.referrers(arm.digest) == (bill.digest,)
    assert story.into.referrers(bill.digest) == (signed_bill.digest,)
    assert story.warnings == []
    assert story.copy(index.digest, "r1").bytes_copied == 0


def test_skopeo_sees_the_same_bytes_on_both_sides(story):
    skopeo = require_tool("skopeo")
    index = story.index(story.image(b"amd64"), story.image(b"arm64"), tag="r1")
    story.copy(index.digest, "r1")
    raw = []
    for url, session in ((story.source_url, story.dev), (story.target_url, story.prod)):
        login = ecr.log_in(session.ecr, url)
        argv = [
            skopeo,
            "inspect",
            "--raw",
            "--tls-verify=false",
            f"--creds=AWS:{login.password}",
            f"docker://{url}:r1",
        ]
        done = subprocess.run(argv, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        raw.append(done.stdout)
    assert raw == [index.content, index.content]


def test_an_image_that_skopeo_wrote_in_dockers_format_is_carried_as_it_is(story, tmp_path):
    skopeo = require_tool("skopeo")
    image = story.image(b"layer", tag="r1")
    login = ecr.log_in(story.dev.ecr, story.source_url)
    creds = [f"--src-creds=AWS:{login.password}", f"--dest-creds=AWS:{login.password}"]
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false", "--format=v2s2"]
    converted = [f"docker://{story.source_url}:r1", f"docker://{story.source_url}:docker"]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
        }
    )
    real = story.put(json.loads(image.content) | {"config": story.blob(config.encode(), CONFIG)}, "real")
    done = subprocess.run(
        [skopeo, "copy", *plain, *creds, converted[0].replace(":r1", ":real"), converted[1]],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this skopeo does not convert such an image: {done.stderr.decode()[-200:]}")
    docker = story.out.manifest("docker")
    assert docker.media_type == manifests.IMAGE_TYPES[1]
    assert docker.digest != real.digest
    story.copy(docker.digest, "docker")
    story.has(docker)


# --- within one registry


@pytest.fixture
def near(cloud):
    made = Story(cloud, account=DEV, region="eu-central-1")
    yield made
    made.close()


@pytest.mark.parametrize("mounts", [True, False])
def test_within_one_registry_manifests_go_by_the_api_and_blobs_are_mounted(near, mounts):
    if mounts:
        near.dev.ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    index = near.index(near.image(b"amd64"), near.image(b"arm64"), tag="r1")
    signature = near.about(index, b"signed")
    before = len(near.cloud.calls())
    done = near.copy(index.digest, "r1")
    near.has(index, signature)
    assert (done.blobs_mounted, done.blobs_copied) == ((6, 0) if mounts else (0, 6))
    assert (done.bytes_copied == 0) is mounts
    made = [call for call in near.cloud.calls()[before:] if call["operation"] == "PutImage"]
    assert {call["service"] for call in made} == {"ecr"}, "no manifest by the distribution API"


def test_another_tag_in_the_same_repository_moves_nothing(near):
    image = near.image(b"layer", tag="r1")
    before = len(near.writes)
    done = near.copy(image.digest, "r2", target=near.source_url)
    assert near.writes[before:] == ["PutImage"]
    assert (done.bytes_copied, done.manifests) == (0, 1)
    assert near.out.manifest("r2").digest == image.digest


# --- connections that break


@pytest.fixture
def proxy(story):
    with between(story.cloud.sandbox.port) as registry:
        yield registry


def first(method, part, *, fault, size=None):
    """That fault for the first request of that method, part of a path, and size of its body."""
    left = [fault]

    def decide(one):
        fits = one.method == method and part in one.path
        fits = fits and (size is None or one.headers.get("Content-Length") == str(size))
        return left.pop() if left and fits else None

    return decide


def state_of_uploads(fault, then):
    """That fault whenever somebody asks how far an upload came."""
    return lambda one: fault if one.method == "GET" and "/uploads/" in one.path else then(one)


def test_a_download_that_breaks_off_goes_on_at_its_byte(story, proxy):
    layer = noise(3 * MB)
    image = story.image(layer, b"small")
    digest = manifests.digest_of(layer)
    proxy.decide = first("GET", digest, fault=Fault(cut_down=2 * MB))
    story.copy(image.digest, "r1", source=proxy.url(story.source_url))
    story.has(image)
    broken, rest = proxy.asked("GET", digest)
    assert (broken.down, rest.status) == (2 * MB, 206)
    offset = int(rest.headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert 1 * MB <= offset <= 2 * MB
    assert rest.down == 3 * MB - offset
    assert len(story.slept) == 1


def test_a_registry_without_ranges_is_read_from_the_start(story, proxy):
    layer = noise(3 * MB)
    image = story.image(layer)
    faults = [Fault(cut_down=2 * MB), Fault(without=("range",))]
    digest = manifests.digest_of(layer)
    proxy.decide = lambda one: (
        faults.pop(0) if faults and digest in one.path and one.method == "GET" else None
    )
    story.copy(image.digest, "r1", source=proxy.url(story.source_url))
    story.has(image)
    assert [one.status for one in proxy.asked("GET", digest)] == [200, 200]


def test_an_upload_that_breaks_off_goes_on_and_no_finished_blob_is_sent_again(story, proxy):
    layers = [noise(3 * MB, seed) for seed in range(3)]
    image = story.image(*layers)
    proxy.decide = first("PATCH", "", size=3 * MB, fault=Fault(cut_up=2 * MB))
    story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    story.has(image)
    patches = proxy.asked("PATCH", "/uploads/")
    assert len(patches) == 5, "four blobs, and one of them in two parts"
    (rest,) = [one for one in patches if not one.headers["Content-Range"].startswith("0-")]
    offset = int(rest.headers["Content-Range"].partition("-")[0])
    assert 1 * MB <= offset <= 2 * MB
    sent = sum(one.up for one in patches)
    assert sent == sum(blob.size for blob in image.blobs) + 2 * MB - offset


def test_a_blob_begins_anew_where_the_registry_does_not_say_how_far_it_came(story, proxy):
    image = story.image(noise(3 * MB))
    cut = first("PATCH", "", size=3 * MB, fault=Fault(cut_up=2 * MB))
    proxy.decide = state_of_uploads(Fault.refusal(404, "BLOB_UPLOAD_UNKNOWN"), cut)
    story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    story.has(image)
    assert [one.headers["Content-Range"] for one in proxy.asked("PATCH", "")].count(f"0-{3 * MB - 1}") == 2


def test_a_stale_range_as_ecr_says_it_costs_one_blob_and_not_the_copy(story, proxy):
    """https://github.com/aws/containers-roadmap/issues/2831: the Range of an upload may lag behind what ECR has."""
    image = story.image(noise(3 * MB))
    cut = first("PATCH", "", size=3 * MB, fault=Fault(cut_up=2 * MB))
    proxy.decide = state_of_uploads(Fault(204, {"Range": "0-99999"}), cut)
    story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    story.has(image)
    big = [one for one in proxy.asked("PATCH", "") if f"-{3 * MB - 1}" in one.headers["Content-Range"]]
    assert [(one.headers["Content-Range"].partition("-")[0], one.status) for one in big] == [
        ("0", 0),
        ("100000", 416),
        ("0", 202),
    ]


def test_a_lost_answer_to_the_end_of_an_upload_is_not_a_lost_blob(story, proxy):
    image = story.image(noise(1 * MB))
    proxy.decide = first("PUT", "digest=", fault=Fault(cut_down=0))
    story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    story.has(image)
    assert len(proxy.asked("PATCH", "")) == 2, "two blobs, each once"


def test_throttling_is_waited_for_as_long_as_the_registry_says(story, proxy):
    image = story.image(b"layer")
    slow = Fault.refusal(429, "TOOMANYREQUESTS", "Rate exceeded", Retry_After="7")
    faults = [slow, Fault(503), slow]
    proxy.decide = lambda one: faults.pop() if faults and one.method == "POST" else None
    story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    story.has(image)
    assert len(story.slept) == 3
    assert sorted(story.slept)[1:] == [7.0, 7.0]


def test_a_registry_that_stays_away_is_given_up(story, proxy):
    image = story.image(b"layer")
    proxy.decide = lambda one: Fault(503) if one.method == "POST" else None
    with pytest.raises(ImageError, match=r"HTTP 503 \(6 attempts\)") as caught:
        story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    assert "what has arrived is not sent twice" in caught.value.hint
    assert story.into.manifest("r1") is None


def test_a_login_that_runs_out_on_the_way_is_renewed_once(story, proxy):
    image = story.image(noise(2 * MB), b"small")
    aged = []

    def decide(one):
        if one.method == "PATCH" and not aged:
            aged.append(story.cloud.advance(13 * 3600))

    proxy.decide = decide
    story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    story.into = story.open(story.target_url, story.prod)
    story.has(image)
    asked = [
        call
        for call in story.cloud.calls()
        if call["operation"] == "GetAuthorizationToken" and "push" in call["user_agent"]
    ]
    by_account = [call["account"] for call in asked]
    assert max(by_account.count(DEV) - 1, by_account.count(PROD)) <= 3


def test_ecrs_403_to_an_old_password_renews_the_login_too(story, proxy):
    image = story.image(b"layer")
    expired = Fault.refusal(
        403, "DENIED", "Your authorization token has expired. Reauthenticate and try again."
    )
    proxy.decide = first("POST", "", fault=expired)
    story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    story.has(image)


def test_other_bytes_than_the_digest_says_are_never_finished(story, proxy):
    layer = noise(1000)
    image = story.image(layer)
    digest = manifests.digest_of(layer)
    proxy.decide = first("GET", digest, fault=Fault(200, {}, noise(1000, seed=1)))
    with pytest.raises(ImageError, match="sent other bytes than"):
        story.copy(image.digest, "r1", source=proxy.url(story.source_url))
    assert not story.into.has_blob(digest)
    assert story.into.manifest(image.digest) is None


def test_a_reader_is_sent_on_without_the_password(story, proxy):
    """ECR sends a layer's reader to S3: https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html"""
    layer = noise(1000)
    image = story.image(layer)
    digest = manifests.digest_of(layer)
    with between(story.cloud.sandbox.port) as storage:
        storage.decide = lambda _one: Fault(200, {}, layer)
        elsewhere = Fault(307, {"Location": f"http://{storage.host}/bucket/layer?X-Amz-Signature=secret"})
        proxy.decide = lambda one: elsewhere if one.method == "GET" and digest in one.path else None
        story.copy(image.digest, "r1", source=proxy.url(story.source_url))
    story.has(image)
    (read,) = storage.passed
    assert "Authorization" not in read.headers
    assert "Authorization" in proxy.asked("GET", digest)[0].headers


def test_what_is_not_this_machine_is_reached_by_tls_that_the_bundle_vouches_for(tmp_path):
    """0.0.0.0 is this machine by another name, and none that counts as loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("0.0.0.0"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(*private))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    waits = []
    with between(1, context) as registry:
        registry.decide = lambda _one: Fault.refusal(404, "MANIFEST_UNKNOWN")
        url = f"0.0.0.0:{registry.host.partition(':')[2]}/web"

        def ask(environ):
            asked = Repository(url, log_in=None, environ=environ, user_agent="test", sleep=waits.append)
            try:
                return asked.manifest("r1")
            finally:
                asked.close()

        assert ask({"AWS_CA_BUNDLE": str(tmp_path / "cert.pem")}) is None
        with pytest.raises(ImageError, match=r"certificate of 0\.0\.0\.0:\d+ cannot be verified") as caught:
            ask({})
    assert "AWS_CA_BUNDLE" in caught.value.hint
    assert waits == [], "time does not mend a certificate"


# --- refusals


def test_a_tag_that_names_another_image_stops_the_copy_before_it_begins(story):
    old, new = story.image(b"old"), story.image(b"new")
    story.copy(old.digest, "r1")
    before = len(story.writes)
    with pytest.raises(
        ImageError, match=f"r1 is {old.digest} already, and cannot become {new.digest}"
    ) as caught:
        story.copy(new.digest, "r0", "r1")
    assert "tags never move" in caught.value.hint
    assert story.writes[before:] == []


def test_the_policy_that_an_error_prints_is_the_one_that_helps(story):
    image = story.image(b"layer", tag="r1")
    signature = story.about(image, b"signed")
    reader, before = story.session(PROD, "eu-central-1"), story.writes
    with pytest.raises(
        ImageError, match=f"demo-dev/web in account {DEV}, eu-central-1 does not let account {PROD} pull"
    ) as caught:
        story.copy(image.digest, "r1", reader=reader)
    policy = "\n".join(caught.value.details)
    assert json.loads(policy)["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{PROD}:root"}
    assert story.writes == before
    story.dev.ecr.set_repository_policy(repositoryName="demo-dev/web", policyText=policy)
    assert story.copy(image.digest, "r1", reader=reader).referrers == 1
    story.has(image, signature)


def test_a_digest_that_is_gone_is_named(story):
    gone = "sha256:" + "0" * 64
    with pytest.raises(ImageError, match=f"demo-dev/web has no image {gone}: it was deleted there") as caught:
        story.copy(gone, "r1")
    assert "apply the source environment again" in caught.value.hint


def test_a_platform_that_is_gone_is_named(story, proxy):
    amd, arm = story.image(b"amd64"), story.image(b"arm64")
    index = story.index(amd, arm)
    proxy.decide = lambda one: Fault.refusal(404, "MANIFEST_UNKNOWN") if arm.digest in one.path else None
    with pytest.raises(ImageError, match=f"names {arm.digest}, which the registry does not have"):
        story.copy(index.digest, "r1", source=proxy.url(story.source_url))


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_repository_that_is_not_there_is_named(story, side):
    image = story.image(b"layer")
    url = {"source": story.source_url, "target": story.target_url}[side]
    with pytest.raises(
        ImageError, match=r"there is no repository demo-(dev|prod)/other in account"
    ) as caught:
        story.copy(image.digest, "r1", **{side: url.replace("/web", "/other")})
    assert "orch apply" in caught.value.hint


def test_a_repository_that_is_not_there_in_the_same_registry_is_named(near):
    image = near.image(b"layer")
    with pytest.raises(ImageError, match="demo-prod/other") as caught:
        near.copy(image.digest, "r1", target=near.target_url.replace("/web", "/other"))
    assert "orch apply" in caught.value.hint


def test_a_role_that_may_not_push_is_told_so(story, proxy):
    image = story.image(b"layer")
    proxy.decide = lambda one: (
        Fault.refusal(403, "DENIED", "not authorized") if one.method == "POST" else None
    )
    with pytest.raises(ImageError, match="demo-prod/web in account .* may not be written") as caught:
        story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    assert "orch policy" in caught.value.hint


def test_no_credentials_are_an_error_of_aws(story):
    image = story.image(b"layer")
    nobody = Aws(
        "eu-central-1",
        {
            "HOME": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        },
    )
    with pytest.raises(AwsError):
        story.copy(image.digest, "r1", reader=nobody)


def test_a_signature_made_since_the_last_copy_is_told_and_not_swapped(story):
    image = story.image(b"layer")
    name = f"{stem(image)}.sig"
    old = story.about(None, b"one signature", tag=name)
    story.copy(image.digest, "r1")
    story.dev.ecr.batch_delete_image(repositoryName="demo-dev/web", imageIds=[{"imageTag": name}])
    new = story.about(None, b"two signatures", tag=name)
    story.copy(image.digest, "r1")
    story.has(old, new)
    assert story.into.manifest(name).digest == old.digest
    assert story.warnings == [
        f"{story.target_url}:{name} is {old.digest} already; what {story.source_url} has there, {new.digest}, was copied without the tag"
    ]


def test_an_attestation_that_the_target_does_not_take_is_told(story, proxy):
    image = story.image(b"layer")
    bill = story.about(image, b"bill of materials")
    unsupported = Fault.refusal(405, "UNSUPPORTED", "Invalid parameter at 'ImageManifest'")
    proxy.decide = lambda one: unsupported if one.method == "PUT" and bill.digest in one.path else None
    done = story.copy(image.digest, "r1", target=proxy.url(story.target_url))
    assert (done.referrers, done.refused) == (0, (bill.digest,))
    assert f"does not take {bill.digest}, which is about {image.digest}" in story.warnings[0]
    assert ecr.digest_of_tag(story.prod.ecr, story.target_url, "r1") == image.digest


def test_whoever_stops_listening_stops_the_copy(story):
    image = story.image(*[noise(2 * MB, seed) for seed in range(6)])

    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy.copy(
            Side(story.source_url, story.dev),
            Side(story.target_url, story.prod),
            image.digest,
            tags=["r1"],
            emit=interrupted,
        )
    assert story.into.manifest("r1") is None


@pytest.mark.parametrize(
    ("digest", "tags"), [("r1", []), ("sha256:12", []), ("sha256:" + "0" * 64, ["a/../b"])]
)
def test_names_that_are_none_are_refused_before_anything_is_asked(story, digest, tags):
    before = len(story.cloud.calls())
    with pytest.raises(ImageError, match="is not a"):
        story.copy(digest, *tags)
    assert len(story.cloud.calls()) == before
