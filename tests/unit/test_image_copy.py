"""What image/ decides without a registry: manifests, places, what belongs to an image, and a transfer under any luck."""

from __future__ import annotations

import io
import json
import random
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ImageError
from orchestrator.events import CopyProgress
from orchestrator.image import copy, manifests, referrers, transfer
from orchestrator.image.attempts import Patience, RegistryError, TransientError
from orchestrator.image.copy import Side
from orchestrator.image.distribution import Upload, _proxy_of
from orchestrator.image.ecr import Place, place_of
from orchestrator.image.manifests import IMAGE_TYPES, INDEX_TYPES, Blob
from orchestrator.report import json_lines
from orchestrator.report.terminal import PlainView
from orchestrator.report.text import copy_line

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def image(**more):
    document = {"config": {"digest": A, "size": 2}, "layers": [{"digest": B, "size": 7}], **more}
    return json.dumps(document).encode()


# --- manifests


def test_a_manifest_is_its_bytes():
    content = image(subject={"digest": C})
    manifest = manifests.read(content, f"{IMAGE_TYPES[0]}; charset=utf-8")
    assert manifest.digest == manifests.digest_of(content)
    assert manifest.text.encode() == manifest.content == content
    assert manifest.blobs == (Blob(A, 2), Blob(B, 7))
    assert (manifest.children, manifest.subject) == ((), C)


def test_an_index_names_its_children_once():
    listed = [{"digest": A}, {"digest": B}, {"digest": A}]
    index = manifests.read(
        json.dumps({"mediaType": INDEX_TYPES[1], "manifests": listed}).encode(), "text/plain"
    )
    assert (index.media_type, index.children, index.blobs) == (INDEX_TYPES[1], (A, B), ())


def test_what_lies_elsewhere_by_design_and_what_comes_twice_are_no_more_blobs():
    layers = [
        {"digest": B, "size": 7},
        {"digest": B, "size": 7},
        {"digest": C, "size": 9, "urls": ["https://example"]},
    ]
    manifest = manifests.read(image(layers=layers), IMAGE_TYPES[0])
    assert manifest.blobs == (Blob(A, 2), Blob(B, 7))


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"\xff", IMAGE_TYPES[0], "is not a JSON object"),
        (b"[]", IMAGE_TYPES[0], "is not a JSON object"),
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", "cannot be copied as it is"),
        (b"{}", "", "is of type `unknown`"),
        (image(layers={}), IMAGE_TYPES[0], "`layers` of the manifest sha256:[0-9a-f]+ is not a list"),
        (image(layers=[{"digest": B}]), IMAGE_TYPES[0], "without its size"),
        (image(layers=[{"digest": B, "size": True}]), IMAGE_TYPES[0], "without its size"),
        (
            image(layers=[{"digest": "sha256:../../x", "size": 1}]),
            IMAGE_TYPES[0],
            "other than a sha256 digest",
        ),
        (image(subject="x"), IMAGE_TYPES[0], "other than a sha256 digest"),
        (b'{"manifests": [{"digest": "sha512:aa"}]}', INDEX_TYPES[0], "other than a sha256 digest"),
    ],
)
def test_what_is_no_manifest_is_refused(content, kind, said):
    with pytest.raises(ImageError, match=said):
        manifests.read(content, kind)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: (
            st.lists(one)
            | st.dictionaries(
                st.sampled_from(
                    ["config", "layers", "manifests", "subject", "digest", "size", "urls", "mediaType"]
                ),
                one,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(document):
    for kind in manifests.MEDIA_TYPES:
        try:
            manifest = manifests.read(json.dumps(document).encode(), kind)
        except ImageError:
            continue
        assert all(manifests.DIGEST.fullmatch(blob.digest) for blob in manifest.blobs)


# --- where a repository is


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (
            "111111111111.dkr.ecr.eu-central-1.amazonaws.com/demo/web",
            Place("111111111111", "eu-central-1", "demo/web"),
        ),
        (
            "111111111111.dkr.ecr-fips.us-gov-west-1.amazonaws.com/web",
            Place("111111111111", "us-gov-west-1", "web"),
        ),
        ("111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn/web", Place("111111111111", "cn-north-1", "web")),
        ("111111111111.dkr-ecr.eu-west-1.on.aws/web", Place("111111111111", "eu-west-1", "web")),
        ("127.0.0.1:4566/111111111111.eu-west-1/demo/web", Place("111111111111", "eu-west-1", "demo/web")),
        ("ghcr.io/demo/web", None),
        ("127.0.0.1:5000/web", None),
    ],
)
def test_a_repositorys_url_says_account_and_region(url, place):
    assert place_of(url) == place


def test_one_registry_is_one_account_and_region():
    def side(account, region):
        return Side(f"{account}.dkr.ecr.{region}.amazonaws.com/web", None)

    here = side("1" * 12, "eu-west-1")
    assert copy.is_same_registry(here, Side("1" * 12 + ".dkr.ecr.eu-west-1.amazonaws.com/other", None))
    assert not copy.is_same_registry(here, side("2" * 12, "eu-west-1"))
    assert not copy.is_same_registry(here, side("1" * 12, "eu-west-2"))
    assert not copy.is_same_registry(Side("ghcr.io/a", None), Side("ghcr.io/b", None))


def test_the_policy_to_add_lets_one_account_pull_and_no_more():
    (statement,) = json.loads(copy.pull_policy("1" * 12, "aws-cn"))["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws-cn:iam::111111111111:root"}
    assert not [
        action for action in statement["Action"] if "Put" in action or "Upload" in action or "*" in action
    ]


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, ""),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "http_proxy": "http://q:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost, .amazonaws.com"}, ""),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "zonaws.com"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, ""),
    ],
)
def test_proxies_are_those_of_the_environment(environ, proxy):
    assert _proxy_of("https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/", environ) == proxy


# --- patience


def test_waits_grow_until_they_are_given_up_and_begin_anew_after_progress():
    waits = []
    patience = Patience(waits.append)
    for _ in range(5):
        patience.wait(TransientError("the line broke"))
    assert all(0.1 * 2**number <= wait <= 0.2 * 2**number for number, wait in enumerate(waits))
    patience.forward()
    patience.wait(TransientError("the line broke", after_s=9))
    assert waits[-1] == 9
    patience.wait(TransientError("the line broke", after_s=86_400))
    assert waits[-1] == 20, "a registry may not make us wait a day"
    for _ in range(3):
        patience.wait(TransientError("again"))
    with pytest.raises(ImageError, match=r"again \(6 attempts\)"):
        patience.wait(TransientError("again"))


# --- what belongs to an image


class Shelf:
    """Manifests by digest and tag, as a source has them."""

    def __init__(self):
        self.by_digest, self.by_tag = {}, {}

    def put(self, *children, subject=None, tag=None, mark=""):
        document = (
            {"mark": mark, "manifests": [{"digest": one.digest} for one in children]}
            if children
            else json.loads(image(mark=mark))
        )
        if subject is not None:
            document["subject"] = {"digest": subject.digest}
        manifest = manifests.read(
            json.dumps(document).encode(), INDEX_TYPES[0] if children else IMAGE_TYPES[0]
        )
        self.by_digest[manifest.digest] = manifest
        if tag:
            self.by_tag[tag] = manifest
        return manifest

    def gather(self, manifest, *, has_api=True):
        def about(digest):
            return (
                tuple(one.digest for one in self.by_digest.values() if one.subject == digest)
                if has_api
                else None
            )

        both = {**self.by_digest, **self.by_tag}
        return referrers.gather(referrers.Source(both.get, about), manifest)


def stem(manifest):
    return manifest.digest.replace(":", "-")


def test_a_family_comes_in_the_order_in_which_it_can_be_put():
    shelf = Shelf()
    amd, arm = shelf.put(mark="amd"), shelf.put(mark="arm")
    index = shelf.put(amd, arm)
    shelf.put(mark="nobody's")
    bill = shelf.put(subject=arm, mark="bill")
    signed = shelf.put(subject=bill, mark="signed")
    signature = shelf.put(mark="sig", tag=f"{stem(index)}.sig")
    family = shelf.gather(index)
    assert family.members == (amd, arm, index)
    assert set(family.referrers) == {bill, signed, signature}
    assert family.referrers.index(bill) < family.referrers.index(signed)
    assert family.tags == {f"{stem(index)}.sig": signature.digest}
    assert family.absent == ()


def test_without_a_referrers_api_the_tag_of_the_specification_is_followed():
    shelf = Shelf()
    subject = shelf.put(mark="image")
    bill = shelf.put(subject=subject, mark="bill")
    fallback = shelf.put(bill, tag=stem(subject))
    family = shelf.gather(subject, has_api=False)
    assert family.referrers == (bill, fallback)
    assert family.tags == {stem(subject): fallback.digest}


def test_what_is_listed_and_gone_is_told_and_a_platform_that_is_gone_is_an_error():
    shelf = Shelf()
    subject, gone = shelf.put(mark="image"), shelf.put(mark="gone")
    shelf.put(gone, tag=stem(subject))
    del shelf.by_digest[gone.digest]
    family = shelf.gather(subject)
    assert (family.referrers, family.tags, family.absent) == ((), {}, (gone.digest,))
    with pytest.raises(ImageError, match=gone.digest):
        shelf.gather(shelf.put(subject, gone))


def test_what_nobody_can_carry_stays_behind_unless_it_is_the_image():
    shelf = Shelf()
    subject, odd = shelf.put(mark="image"), shelf.put(mark="odd")
    index = shelf.put(odd)

    def manifest(reference):
        if reference == odd.digest:
            raise manifests.ForeignManifestError("of a type that cannot be copied as it is")
        return shelf.by_digest.get(reference)

    source = referrers.Source(
        manifest, lambda digest: (odd.digest, index.digest) if digest == subject.digest else ()
    )
    family = referrers.gather(source, subject)
    assert (family.referrers, family.absent) == ((), (odd.digest,))
    with pytest.raises(ImageError, match="of a type"):
        referrers.gather(source, index)


def test_things_that_refer_to_each_other_end():
    """No registry can hold a circle of digests, but one can say that it does."""
    one, two = (manifests.read(image(mark=mark), IMAGE_TYPES[0]) for mark in "12")
    known = {one.digest: one, two.digest: two}
    about = {one.digest: (two.digest,), two.digest: (one.digest,)}
    family = referrers.gather(referrers.Source(known.get, lambda digest: about[digest]), one)
    assert (family.members, family.referrers) == ((one,), (two,))


def test_a_registry_that_invents_signatures_without_end_is_left():
    def invented(reference):
        return manifests.read(image(mark=reference), IMAGE_TYPES[0]) if ":" in reference else None

    fresh = iter(range(10_000))
    source = referrers.Source(
        invented, lambda _digest: tuple(f"sha256:{next(fresh):064x}" for _ in range(20))
    )
    with pytest.raises(ImageError, match="more than 1000 manifests"):
        referrers.gather(source, manifests.read(image(), IMAGE_TYPES[0]))


# --- a transfer under any luck


class Luck:
    """Both ends of a transfer. Each draw says whether, and at which byte, the next connection breaks."""

    def __init__(self, content, draws, *, status):
        self.content, self.draws, self.status = content, list(draws), status
        self.held, self.uploads, self.finished, self.waits = {}, 0, None, []
        self.url, self.blob_digest = "end", manifests.digest_of(content)

    def patience(self):
        return Patience(self.waits.append)

    def draw(self):
        return self.draws.pop() if self.draws else None

    @contextmanager
    def blob(self, digest, first):
        assert digest == self.blob_digest
        yield self._read(first, self.draw())

    def _read(self, first, cut):
        end = len(self.content) if cut is None else min(first + cut, len(self.content))
        for start in range(first, end, 5):
            yield self.content[start : min(start + 5, end)]
        if cut is not None:
            raise TransientError("the source broke off")

    def start_upload(self):
        if self.draw() == 0:
            raise TransientError("no upload")
        self.uploads += 1
        self.held[str(self.uploads)] = b""
        return Upload(str(self.uploads))

    def send(self, upload, size, pieces):
        if upload.offset != len(self.held[upload.location]):
            raise RegistryError("416", repository=self.url, status=416)
        cut, sent = self.draw(), 0
        for piece in pieces:
            kept = piece if cut is None else piece[: max(cut - sent, 0)]
            self.held[upload.location] += kept
            sent += len(piece)
            if len(kept) < len(piece):
                raise TransientError("the target broke off")
        return Upload(upload.location, size)

    def progress(self, upload):
        held = len(self.held[upload.location])
        return {
            "true": Upload(upload.location, held),
            "none": None,
            "stale": Upload(upload.location, held // 2),
        }[self.status]

    def finish(self, upload, digest):
        draw = self.draw()
        if draw == 0:
            raise TransientError("never asked")
        if manifests.digest_of(self.held[upload.location]) != digest:
            raise RegistryError("DIGEST_INVALID", repository=self.url, status=400)
        self.finished = self.held[upload.location]
        if draw is not None:
            raise TransientError("the answer was lost")

    def has_blob(self, digest):
        return self.finished is not None


@settings(deadline=None)
@given(
    st.binary(max_size=60),
    st.lists(st.none() | st.integers(0, 60), max_size=12),
    st.sampled_from(["true", "none", "stale"]),
)
def test_a_blob_arrives_as_it_is_or_the_transfer_says_why_not(content, draws, status):
    luck, progress = Luck(content, draws, status=status), transfer.Progress()
    blob = Blob(luck.blob_digest, len(content))
    with suppress(ImageError):
        transfer.send(luck, luck, blob, None, progress)
        assert luck.finished == content
        assert progress.done_bytes == len(content)
        return
    assert len(luck.waits) >= 5, "it is given up after six attempts in a row, and not before"


def test_with_a_true_state_no_byte_is_sent_twice():
    content = random.Random(1).randbytes(100)
    luck = Luck(content, [None, 30, None, 45, None, None], status="true")
    sent = []
    whole = luck.send
    luck.send = lambda upload, size, pieces: whole(
        upload, size, (sent.append(len(one)) or one for one in pieces)
    )
    transfer.send(luck, luck, Blob(luck.blob_digest, 100), None, transfer.Progress())
    assert (luck.finished, luck.uploads) == (content, 1)
    assert sum(sent) - 100 <= 2 * 5, "what was in flight when the connection broke"


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_other_bytes_are_never_finished(extra):
    luck = Luck(b"these bytes" + extra, [], status="true")
    luck.blob_digest = manifests.digest_of(b"other bytes")
    with pytest.raises(ImageError, match="sent other bytes than"):
        transfer.send(luck, luck, Blob(luck.blob_digest, 11), None, transfer.Progress())
    assert luck.finished is None


def test_a_transfer_that_nobody_wants_any_more_ends():
    luck, progress = Luck(b"bytes", [], status="true"), transfer.Progress()
    progress.stop.set()
    with pytest.raises(transfer.StoppedError):
        transfer.send(luck, luck, Blob(luck.blob_digest, 5), None, progress)
    assert luck.finished is None


# --- told


def test_progress_is_a_line_a_tenth_in_a_log_and_an_object_each_in_json():
    stream = io.StringIO()
    view = PlainView(stream)
    for done in range(0, 1001, 7):
        view.take(CopyProgress("repo@sha256:1", done * 1000, 1_000_000))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[3] == "    0.3 of 1.0 MB (30 %) to repo@sha256:1"
    assert copy_line(CopyProgress("x", 0, 0)) == "0.0 of 0.0 MB (100 %) to x"
    said = json.loads(json_lines.line(CopyProgress("x", 1, 2)))
    assert said == {"type": "copy_progress", "image": "x", "done_bytes": 1, "total_bytes": 2}
