"""The page of `orch board`, read by an HTML parser: what it says, that hostile words stay words, that it loads and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.promotion import Row, State
from orchestrator.report import board_html, charts
from orchestrator.report.board_html import Crossing, Overview, Trouble
from tests import board_samples as samples

APART = {"th", "td", "dt", "dd", "div", "p", "li"}
VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """What a page holds: its elements in their order, their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.style = self.text = ""
        self.comments: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.wrong.append(f"{tag} has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)
        if tag in APART:
            self.text += " "

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> where it does not belong")

    def handle_data(self, data):
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data

    def handle_comment(self, data):
        self.comments.append(data)

    @property
    def words(self) -> str:
        """The text on one line."""
        return " ".join(self.text.split())

    def having(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _tag, attributes in self.elements if attribute in attributes]


def read(overview: Overview) -> Page:
    page = Page(board_html.render(overview))
    assert not page.wrong
    assert not page.open
    return page


SMALL = read(samples.small())
TAGS = {tag for tag, _attributes in SMALL.elements}
ATTRIBUTES = {name for _tag, attributes in SMALL.elements for name in attributes}


def test_the_page_loads_and_runs_nothing():
    html = board_html.render(samples.small())
    assert html.lstrip().startswith("<!doctype html>\n<html lang=")
    assert not TAGS & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"}
    assert not ATTRIBUTES & {"src", "style", "srcset", "action", "xlink:href"}
    assert not [name for name in ATTRIBUTES if name.startswith("on")]
    policy = next(
        attributes["content"]
        for tag, attributes in SMALL.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(SMALL.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\(|@import|</", SMALL.style)
    assert {href.split("/")[2] for href in SMALL.having("href")} == {"github.com"}
    assert set(SMALL.having("fill")) == {"url(#hatch1)", "url(#hatch2)", "url(#hatch3)"}


def test_what_is_labelled_by_something_is_labelled_by_what_is_there():
    ids = SMALL.having("id")
    assert len(ids) == len(set(ids))
    assert set(SMALL.having("aria-labelledby")) <= set(ids)


def test_the_page_says_what_runs_and_what_is_odd():
    for said in (
        (
            "4 environments 3 services 1 not fully read 2 not healthy 1 rolling out or back 2 drifted 1 locked 1 frozen"
            " 2 ready to promote"
        ),
        (
            "prod protected 333333333333 · eu-west-1 Locked: orch lock of alice@laptop, since 2026-07-01 10:22:05 UTC:"
            " the database moves Frozen: weekend until 2026-07-06 06:00 Europe/Berlin"
        ),
        (
            "backup 444444444444 · eu-north-1 Not known: sts:GetCallerIdentity failed: the security token included in"
            " the request is expired → log in again: aws sso login"
        ),
        (
            "dev rolling out 1 of 2 tasks commit 23ca7a72 Show the basket while it loads image b7afb1c51794"
            " runs shop-dev-web:44 last succeeded 5 h 06 min ago"
        ),
        "Drift: it runs shop-prod-mail:7, which orch did not register",
        "last rolled back 40 min ago ECS deployment circuit breaker",
        "Terraform drift: dev was changed outside Terraform (#12)",
        "staging not there",
        "backup not known",
    ):
        assert said in SMALL.words
    assert SMALL.words.count("Not locked") == 2


def test_an_environment_that_cannot_be_read_is_not_said_to_be_unlocked():
    place = replace(samples.small().places[0], troubles=(Trouble("its lock is not known"),))
    assert "Not locked" not in read(replace(samples.small(), places=(place,))).words


def test_the_page_says_what_may_be_promoted_and_why_not():
    for said in (
        "web 23ca7a72 b7afb1c51794 ready orch promote --from dev --to staging --service web",
        "soaked: 18 min of 30 min in staging: opens in 12 min, at 2026-07-01 12:12 UTC → wait with --wait",
        "lock: prod is locked by orch lock of alice@laptop",
        "wait, or ask the holder: orch locks --env prod Passed: path, verdict, image, healthy now, branch,",
        "shut verdict: ECS rolled shop-staging-jobs:43 back in staging: what runs is an older release → release a good",
        "there already prod runs this image",
        "prod → backup Not known: backup: it cannot be read",
    ):
        assert said in SMALL.words


def stands(*rows: Row, asks_for_plan: bool = False, **more: bool) -> str:
    crossing = Crossing(
        "staging",
        "prod",
        (samples.gate("staging", "prod", "web", *rows, **more),),
        asks_for_plan=asks_for_plan,
    )
    words = read(Overview("shop", samples.NOW, (), (), (crossing,))).words
    return words.partition("Gate Why web 24c6930d 48ad884907d1 ")[2].partition(" Metrics ")[0]


def test_a_gate_that_only_waits_says_until_when():
    assert stands(samples.SOAK).startswith("waits opens in 12 min, at 2026-07-01 12:12 UTC soaked: 18 min")
    assert stands(samples.SOAK, samples.LOCKED).startswith("waits soaked: 18 min")
    assert stands(samples.SOAK, samples.FAILED).startswith("shut soaked: 18 min")


def test_a_gate_that_asks_for_a_plan_is_not_said_to_be_open():
    skipped = Row("plan", "no pending changes", State.SKIPPED, "no plan was made to tell")
    assert (
        stands(skipped, asks_for_plan=True)
        == "open but for a plan orch promote --from staging --to prod --service web --check makes the plan it asks for"
    )


def test_what_is_there_already_has_nothing_in_its_way():
    assert stands(samples.FAILED, is_carried=True) == "there already prod runs this image"


def test_the_releases_are_told_with_what_is_odd_about_them():
    for said in (
        "staging · jobs c7c3d6 2026-07-01 11:00 rolled back c7c3d66b 224b86392adc ECS deployment circuit breaker",
        "from dev (a1b2c3)",
        "override freeze: the login is broken",
        "shop-dev-deploy/github-1234, run 1 min 37 s",
    ):
        assert said in SMALL.words
    assert SMALL.having("href").count("https://github.com/acme/shop/actions/runs/1234567890") == 20


def test_charts_have_their_numbers_as_text():
    labels = [attributes["aria-label"] for tag, attributes in SMALL.elements if tag == "svg"]
    assert [attributes["role"] for tag, attributes in SMALL.elements if tag == "svg"] == ["img"] * 6
    assert labels[4] == (
        "prod, changes a week from 13 Apr to 01 Jul: 2, 2 (1 failed), 2, 2, 2, 2 (1 failed), 1, 2, 2, 2 (1 failed), 2, 1"
    )
    assert labels[5].startswith("prod, median lead time of each week from 13 Apr to 01 Jul: ")
    assert len(labels[5].split(",")) == 13
    for said in (
        "Deployments 37 8.6 a week Lead time 10 h 02 min median; nine in ten within 18 h 02 min",
        "Change failure rate 14 % 6 of 43 changes Recovery time 2 min median of 6",
        # Nothing is no zero.
        "Deployments 0 Lead time - Change failure rate - Recovery time - No release from 13 Apr to 01 Jul",
    ):
        assert said in SMALL.words


def test_a_page_of_nothing_says_so():
    words = read(Overview("shop", samples.NOW, (), ())).words
    for said in (
        "0 environments 0 services",
        "Services There are none.",
        "No environment has promotes_from in orch.toml.",
        "Metrics None can be told.",
        "No release is on record.",
    ):
        assert said in words


def test_ten_services_in_four_environments_are_less_than_300_kb():
    assert len(board_html.render(samples.large()).encode()) < 300_000


# --- words of others

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "</title></textarea><svg onload=alert(1)>",
    "`<b>`code`</b>",
    "{{ 7 * 7 }}{% for x in y %}",
    "&lt;script&gt;&#60;b&#62;",
    "<!--[if IE]>",
    "\u202egnp.exe\u2066\u200b",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07\x1b[31m\x00\ud800",
    "a\nb\r\n\u2028c\td",
)


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_stay_words(words):
    page = assert_tame(words)
    plain = re.sub(r"\x1b\].*?\x07|\x1b\[31m", "", words)
    if plain.isprintable() and "`" not in words and "<!--" not in words:
        assert page.words.count(plain) > 50


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec=None), min_size=1, max_size=30))
def test_any_words_stay_words(words):
    assert_tame(words)


def assert_tame(words: str) -> Page:
    """The page holds no element or attribute more, nothing that cannot be seen or turns what is written, and no comment."""
    html = board_html.render(samples.hostile(words))
    page = Page(html)
    assert not page.wrong
    assert not page.open
    assert not page.comments
    assert {tag for tag, _attributes in page.elements} <= TAGS
    assert {name for _tag, attributes in page.elements for name in attributes} <= ATTRIBUTES
    assert page.style == SMALL.style
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", html
    )
    return page


@pytest.mark.parametrize(
    ("words", "secret"),
    [
        ("with AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("with ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_0123456789"),
        ("at https://bob:hunter2-and-more@db.example/", "hunter2"),
        ("password=hunter2-and-more", "hunter2"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJhbGciOiJIUzI1NiJ9"),
        # A colour within a token hides it from who looks before the colour is gone.
        ("ghp_0123456789abc\x1b[31mdefghijABCDEFGHIJ012345", "ghp_0123456789"),
    ],
)
def test_no_credential_is_shown(words, secret):
    html = board_html.render(samples.hostile(words))
    assert secret not in html
    assert html.count("(sensitive)") > 100


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        'https://x/"onclick=',
        "https://u:hunter2pw@x/",
        "//x/",
        "https://x/ y",
    ],
)
def test_what_is_no_plain_url_is_no_link(url):
    overview = samples.small()
    releases = tuple(
        replace(record, release=replace(record.release, run_url=url)) for record in overview.releases
    )
    page = read(replace(overview, releases=releases, commit_url=url, places=overview.places[1:]))
    assert page.having("href") == []


# --- shapes


def test_bars_stand_on_the_ground_with_what_failed_on_top():
    found = charts.bars([(4, 1), (0, 0), (1, 1)])
    assert found == charts.Bars(
        (charts.Box(2.0, 14.0, 76.0, 42.0),),
        (charts.Box(2.0, 0.0, 76.0, 14.0), charts.Box(162.0, 42.0, 76.0, 14.0)),
        4,
    )


def test_a_line_breaks_where_there_is_no_value():
    found = charts.line([10.0, None, 5.0, 0.0])
    assert found.dots == ((30.0, 4.0), (150.0, 28.0), (210.0, 52.0))
    assert found.strokes == ((150.0, 28.0, 210.0, 52.0),)
    assert charts.line([None]) == charts.Line((), (), 0.0)
    assert charts.line([0.0]).dots == ((120.0, 52.0),)


@given(
    st.lists(st.integers(0, 10_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=60)
)
def test_no_bar_leaves_the_chart_by_more_than_what_keeps_it_visible(parts):
    found = charts.bars(parts)
    for box in (*found.whole, *found.failed):
        assert box.x >= 0
        assert box.x + box.width <= charts.WIDTH
        assert box.y >= -charts._LEAST - 0.1
        assert box.y + box.height <= charts.HEIGHT + 0.11
