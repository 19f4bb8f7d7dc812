"""The page of `orch board` in a headless Chromium: axe-core finds nothing, it fits a phone and two sheets of paper, hostile words do
nothing, and its Content-Security-Policy holds.

Needs Chromium, and axe-core where ORCH_AXE names its folder: `make test-browser` sets both up. Skipped where they are missing,
unless ORCH_REQUIRE_BROWSER=1 demands them.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from orchestrator.report import board_html
from orchestrator.report.board_html import Overview
from tests import board_samples as samples
from tests import browser

WIDTHS = (390, 1400)


def require(what: object, name: str) -> None:
    if what:
        return
    if os.environ.get("ORCH_REQUIRE_BROWSER") == "1":
        pytest.fail(f"there is no {name}, and ORCH_REQUIRE_BROWSER=1 demands it")
    pytest.skip(f"there is no {name}; `make test-browser` sets it up")


@pytest.fixture(scope="module")
def tab():
    require(browser.find(), "Chromium on PATH")
    with browser.open_page() as page:
        yield page


@pytest.fixture(scope="module")
def axe() -> str:
    file = Path(os.environ.get("ORCH_AXE", "node_modules/axe-core")) / "axe.min.js"
    require(file.is_file(), "axe-core")
    return file.read_text(encoding="utf-8")


@pytest.fixture
def show(tab, tmp_path):
    def show(overview: Overview, *, width: int = 1400, is_dark: bool = False) -> browser.Page:
        file = tmp_path / "board.html"
        file.write_text(board_html.render(overview), encoding="utf-8")
        tab.said.clear()
        tab.show(file.as_uri(), width=width, is_dark=is_dark)
        return tab

    return show


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_axe_core_finds_nothing(show, axe, width, is_dark):
    page = show(samples.small(), width=width, is_dark=is_dark)
    # What is folded away is looked at too.
    page.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.value(axe + ";0")
    found = json.loads(page.value("axe.run(document, {resultTypes: ['violations']}).then(JSON.stringify)"))
    told = [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert told == []
    passed = {one["id"] for one in found["passes"]}
    assert {"color-contrast", "document-title", "html-has-lang", "svg-img-alt", "landmark-one-main"} <= passed
    # axe cannot tell the contrast of what it cannot see through; nothing here is like that.
    assert "color-contrast" not in {one["id"] for one in found["incomplete"]}


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_the_scheme_is_that_of_the_system(show, is_dark):
    page = show(samples.small(), is_dark=is_dark)
    colour = page.value("getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(13, 17, 23)" if is_dark else "rgb(255, 255, 255)")


@pytest.mark.parametrize("width", [320, *WIDTHS])
@pytest.mark.parametrize("of", [samples.small, samples.large])
def test_nothing_is_wider_than_the_screen(show, of, width):
    page = show(of(), width=width)
    assert page.value("document.documentElement.scrollWidth") <= width


def test_a_table_stays_a_table_for_a_screen_reader_on_a_phone(show):
    page = show(samples.small(), width=390)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
    # The services, two crossings, the releases; the folded tables are not there yet.
    assert roles.count("table") == 4
    assert roles.count("rowheader") == 3 + 2 + 3 + 20
    assert roles.count("columnheader") == 5 + 4 + 4 + 6


def test_it_prints_on_two_sheets_at_most(show):
    pdf = show(samples.small(), is_dark=True).printed()
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 2


def test_nothing_is_loaded_and_no_words_of_others_run(show):
    for words in (
        '"><script>document.title="run"</script><img src=https://evil.example/x onerror=document.title="run">',
        "</style><link rel=stylesheet href=https://evil.example/x>",
        "' onmouseover='document.title=\"run\"' style='color:red",
    ):
        page = show(samples.hostile(words))
        assert (
            page.value("document.querySelectorAll('script, img, link, [style], [onmouseover]').length") == 0
        )
        assert page.value("document.title").startswith("shop")
        assert words in page.value("document.body.textContent")
        assert [
            said for said in page.said if not re.match(r"request: (file:.*/board\.html|about:blank)$", said)
        ] == []


def test_the_policy_holds_against_what_would_be_written_into_the_page(show):
    """As if an escape had failed: Chromium itself refuses to run, style or load what comes from elsewhere."""
    page = show(samples.small())
    page.value(
        "document.body.insertAdjacentHTML('beforeend', '<p id=evil style=\"color: red\">x</p>"
        '<img src=https://evil.example/x onerror="document.title = 1">\')'
    )
    page.value(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))"
    )
    assert page.value("document.title") == "shop · board"
    assert page.value("getComputedStyle(document.getElementById('evil')).color") != "rgb(255, 0, 0)"
    refused = " ".join(page.said)
    for directive in ("script-src", "style-src", "img-src"):
        assert directive in refused
    assert page.said.count("blocked: csp") == 1
