"""The comment is held to its structure by a parser of the same dialect: CommonMark with GFM's tables, strikethrough, autolinks,
footnotes and task lists, HTML on. GitHub's bare links need a scheme or `www.`, so linkify's guesses at domains are off."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mdit_py_plugins.footnote import footnote_plugin

from orchestrator.model import Action, Change, CheckResult, Detail, Masked, OutputChange, Plan, Verdict
from orchestrator.report import board, escapes, markdown
from orchestrator.report.board import Board, Row, ServiceImage, State

RUN = "https://github.com/acme/shop/actions/runs/42"
COMMIT = "c0ffee1d2b3a49586776655443322110ffeeddcc"
HOSTILE = {
    "backtick": "a`b",
    "backticks at both ends": "`code`",
    "an odd number of codes": "`a` and ` b",
    "codes that touch": "`a``b`",
    "long run of backticks": "`" * 70,
    "fence": "x\n```\n</details>\n@octocat\n# heading",
    "tilde fence": "~~~\n@octocat",
    "details": "</details>",
    "open details": "<details><summary>x</summary>",
    "image with a handler": '<img src=x onerror="alert(1)">',
    "script": "<script>alert(1)</script>",
    "mention": "@octocat",
    "team": "@acme/admins",
    "issue": "#1 and acme/shop#2",
    "old issue": "GH-1 gh-2",
    "bidi": "\u202egnp.exe\u2066x\u2069\u200f\u061c",
    "ansi": "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x9b31m",
    "very long": "long " * 4_000,
    "very long word": "x" * 70_000,
    "pipes": "a | b || c \\| d \\\\| e",
    "newlines": "a\n\nb\n\n\n- c",
    "crlf": "a\r\nb\rc\u2028d\u2029e\x85f\vg\fh",
    "nul": "a\x00b\x07\x7f",
    "end of a comment": "--> x --!> y",
    "comment": "<!-- orch:end --> <!-- orch:v1 {} -->",
    "own marker on a line": '\n<!-- orch:end -->\n<!-- orch:row {"environment":"prod"} -->',
    "link": "[x](javascript:alert(1)) [y](http://evil.example)",
    "image": "![](http://evil.example/pixel.png)",
    "reference": "[x]: http://evil.example\n[x]",
    "shell": "$(reboot) `reboot` ${HOME}",
    "expression": "${{ secrets.GITHUB_TOKEN }}",
    "math": "$x^2$ $$y$$ $`z`$",
    "entities": "&lt;b&gt; &#64;octocat &commat;x &#x202e;",
    "emoji family": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u26a0\ufe0f",
    "right to left": "שלום עולם مرحبا",
    "table row": "| a | b |\n| --- | --- |\n| c | d |",
    "heading": "# heading\n=====\n---",
    "list": "- a\n* b\n+ c\n1. d\n2) e",
    "number": "1. one",
    "autolink": "<http://evil.example> http://evil.example www.evil.example mail@evil.example //evil.example",
    "footnotes": "[^1] x\n\n[^1]: note",
    "task list": "[ ] a\n- [x] b",
    "alert": "[!CAUTION]\n> [!NOTE]",
    "emphasis": "**bold** _it_ __x__ ~~gone~~ ***",
    "backslash at the end": "a\\",
    "quote": "> a\n>> b",
    "indented code": "    code\n\tcode",
    "blank": " ",
    "only an escape sequence": "\x1b[31m",
    "no-break spaces": "\u00a0\u3000",
    "half a surrogate pair": "a\ud800b",
    "tags": "a\U000e0041\U000e0042b\u00ad\u200b\ufeff",
    "json": '","environment":"prod","x":"',
}
INLINE = {"text", "code_inline", "strong_open", "strong_close", "link_open", "link_close", "html_inline"}
INLINE_HTML = re.compile(r"<br>|</?sub>|</?span>|<!-- orch:row \{(?:(?!--|>).)*\} -->")
BLOCK_HTML = re.compile(
    r"<details><summary><b>[^<>]*(?:<span>\$</span>[^<>]*)*</b>: [^<>]*</summary>|</details>"
    r"|<!-- orch:[a-z0-9]+ \{(?:(?!--|>).)*\} -->|<!-- orch:end -->"
)
LIVE = re.compile(r"@\w|#\d|\bgh-\d|//|\bwww\.|javascript:[^a]", re.IGNORECASE)
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200c-\u200f\u061c\ufeff\U000e0000-\U000e007f]"
)


def parse(body):
    parser = MarkdownIt("gfm-like", {"breaks": True}).use(footnote_plugin)
    parser.linkify.set({"fuzzy_link": False})
    return parser.parse(body)


def structure(body):
    """The kinds of blocks in their order, with the number of a diff's lines, after a check that nothing within them is live
    but what is orch's own.
    """
    blocks = []
    for token in parse(body):
        blocks.append(f"{token.type} {token.tag}")
        if token.type == "fence" and token.info == "diff":
            blocks[-1] += f" of {len(token.content.splitlines())} lines"
        if token.type == "html_block":
            lines = [line for line in token.content.split("\n") if line]
            assert all(BLOCK_HTML.fullmatch(line) for line in lines), token.content
            assert not LIVE.search(unescape(re.sub("<!--.*?-->", "", token.content))), token.content
            blocks[-1] += ", ".join(re.sub(r"\{.*\}|<b>.*</b>", "", line) for line in lines)
        before = ""
        for inline in token.children or ():
            if inline.type in {"hardbreak", "softbreak"}:
                continue
            assert inline.type in INLINE, inline
            if inline.type == "link_open":
                assert inline.attrs == {"href": RUN}
            if inline.type == "html_inline":
                assert INLINE_HTML.fullmatch(inline.content), inline.content
            if inline.type == "text":
                assert not LIVE.search(inline.content), inline.content
                # The parser knows no formulas; in a span of its own, a dollar begins none.
                assert "$" not in inline.content or (before, inline.content) == ("<span>", "$"), (
                    inline.content
                )
            before = inline.content
    return blocks


def codes_in_lists(body):
    """What stands as code in lists, item by item: the addresses of what is lost, and why."""
    found, depth = [], 0
    for token in parse(body):
        depth += {"list_item_open": 1, "list_item_close": -1}.get(token.type, 0)
        if depth and token.type == "inline":
            found.append([inline.content for inline in token.children if inline.type == "code_inline"])
    return found


def everywhere(text, environment=None, **fields):
    """A row that shows a text in each place that takes one."""
    changes = tuple(
        Change(
            text,
            action,
            type=text,
            reason=text,
            previous_address=text,
            import_id=text,
            details=(
                Detail(text, text, {text: [text, Masked.SENSITIVE]}, forces_replacement=True),
                Detail(text, Masked.ABSENT, text),
            ),
            widenings=(text,),
        )
        for action in Action
    )
    plan = Plan(
        changes,
        (Change(text, Action.UPDATE, text, details=(Detail(text, text, None),)),),
        (OutputChange(text, Action.CREATE, text, text),),
        is_applicable=True,
        terraform_version=text,
        contract={},
        undeletable=(text,),
        checks=(CheckResult(text, text, (text, text)),),
    )
    given = {
        "state": State.REFUSED,
        "plan": plan,
        "gates": (text, f"max_destroy: {text}"),
        "images": (ServiceImage(text, text, f"{text}@sha256:1", Verdict.FAILED, text),),
        "error": text,
        "note": text,
        "next_step": text,
        "bundle": text,
        "commit": text,
        "run_url": RUN,
    }
    return Row(text if environment is None else environment, **(given | fields))


def assert_intact(body, tame, text):
    """One body has the structure of the other, which has the word `safe` in the place of the text."""
    assert structure(body) == structure(tame)
    assert not UNSEEN.search(body)
    body.encode()
    table = next(chunk for chunk in body.split("\n\n") if chunk.startswith("| environment"))
    for line in table.split("\n"):
        assert len(re.split(r"(?<!\\)\|", line)) == 9, line
    beginning = escapes.clean(text)[:5]
    if beginning.strip():
        # Where a word is code, the text is as a whole; sentences of orch's own may make more of what has backticks.
        for codes, tame_codes in zip(codes_in_lists(body), codes_in_lists(tame), strict=True):
            whole = sum(code.startswith(beginning) for code in codes)
            assert whole >= sum(code == "safe" for code in tame_codes), codes


def comment_and_summary(text, safe="safe"):
    """A comment and a summary with this text everywhere, each with the one that has a word everywhere."""
    rows = (everywhere(text), everywhere(text, "prod", position=1))
    tame = (everywhere(safe), everywhere(safe, "prod", position=1))
    for render in (lambda shown: markdown.comment(shown, max_bytes=10**7).body, markdown.summary):
        yield render(Board(text, RUN, rows, note=text)), render(Board(safe, RUN, tame, note=safe))


def check_as_if_it_were(text):
    """A comment with this text everywhere has the structure of one with a word everywhere."""
    for body, tame in comment_and_summary(text):
        assert_intact(body, tame, text)
    rows = (everywhere(text), everywhere(text, "prod", position=1))
    return markdown.comment(Board(text, RUN, rows, note=text))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_leaves_the_structure_intact(name):
    rendered = check_as_if_it_were(HOSTILE[name])
    assert len(rendered.body.encode()) <= 60_000
    parts = board.parse(rendered.body)
    assert [part.environment for part in parts] == [board.key(HOSTILE[name]), "prod"]
    assert {block.kind for part in parts for block in part.blocks} == {"danger", "widening", "section"}


# Texts that a comment without escapes would survive, too: they are about its size, about parsers other than Markdown's, or
# about being shown at all.
HARMLESS = {"very long", "very long word", "right to left", "no-break spaces", "json"}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in HARMLESS])
def test_without_escapes_a_hostile_text_would_be_noticed(name):
    """The counter-test: the same check, on the same comment with the text put in as it is."""
    for _body, tame in comment_and_summary(HOSTILE[name]):
        with pytest.raises((AssertionError, UnicodeEncodeError)):
            assert_intact(tame.replace("safe", HOSTILE[name]), tame, HOSTILE[name])


def test_forty_of_the_texts_are_hostile():
    texts = {text for name, text in HOSTILE.items() if name not in HARMLESS}
    assert len(texts) >= 40


def test_forty_hostile_keys_and_values_in_one_plan():
    def plan(texts):
        changes = (
            Change(
                f'terraform_data.m["{text}"]',
                Action.DELETE,
                "terraform_data",
                details=(Detail(text, text, text * 2),),
            )
            for text in texts
        )
        return Plan(tuple(changes), (), (), is_applicable=True, terraform_version="", contract={})

    texts = list(HOSTILE.values())
    bodies = [
        markdown.comment(Board(COMMIT, RUN, (Row("prod", State.PLANNED, plan=plan(given)),))).body
        for given in (texts, ["safe"] * len(texts))
    ]
    assert structure(bodies[0]) == structure(bodies[1])
    assert structure(bodies[0]).count("list_item_open li") == len(texts) >= 40
    fences = [token for token in parse(bodies[0]) if token.type == "fence"]
    assert [token.info for token in fences] == ["diff"]
    assert fences[0].content.count("\n- terraform_data") + 1 == len(texts)


anything = st.lists(
    st.sampled_from(sorted(HOSTILE.values())) | st.text(max_size=12), min_size=1, max_size=4
).map("".join)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(anything.filter(bool))
def test_any_text_anywhere_leaves_the_structure_intact(text):
    assert len(check_as_if_it_were(text).body.encode()) <= 60_000


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(anything, min_size=1, max_size=8), st.integers(4_000, 70_000))
def test_any_board_stays_within_its_bytes_with_all_that_is_open_closed(texts, limit):
    rows = tuple(everywhere(text, position=place) for place, text in enumerate(texts))

    def merged(shown, max_bytes):
        rendered = None
        for row in shown.rows:
            rendered = markdown.merge(rendered.body if rendered else "", row, max_bytes=max_bytes)
        return rendered

    for render in (markdown.comment, merged):
        rendered = render(Board(COMMIT, RUN, rows), max_bytes=limit)
        assert len(rendered.body.encode()) <= limit
        found = Counter(structure(rendered.body))
        assert sum(n for kind, n in found.items() if "<details>" in kind) == found["html_block </details>"]
        assert found["table_open table"] == found["heading_open h3"] == 1
        assert rendered.body.count(board.END) == len(
            re.findall("<!-- orch:(danger|widening|section) ", rendered.body)
        )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", "`a`"),
        ("a`b", "``a`b``"),
        ("`a`", "`` `a` ``"),
        ("a```b", "````a```b````"),
        (" a ", "`  a  `"),
        ("", "(empty)"),
        ("a\r\nb\nc", "`a⏎b⏎c`"),
        ("x" * 300, f"`{'x' * 199}…`"),
    ],
)
def test_code(text, shown):
    assert escapes.code(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a sentence, as it is.", "a sentence, as it is."),
        ("@team", "@\u200bteam"),
        ("#1 GH-2", "\\#\u200b1 GH-\u200b2"),
        ("http://a.example www.a.example", "http:/\u200b/a.example www\u200b.a.example"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("![a](b) [c](d)", "!\\[a\\](b) \\[c\\](d)"),
        ("a|b", "a&#124;b"),
        ("a_b *c* ~d~ `e` \\", "a\\_b \\*c\\* \\~d\\~ &#96;e&#96; \\\\"),
        ("1. a", "1\\. a"),
        ("- a", "\\- a"),
        ("# a", "\\# a"),
        ("5$ or 6$", "5<span>$</span> or 6<span>$</span>"),
        ("a\nb", "a⏎b"),
        ("red\x1b[31m \u202eevil", "red \N{REPLACEMENT CHARACTER}evil"),
    ],
)
def test_plain(text, shown):
    assert escapes.plain(text) == shown


def test_markup():
    assert escapes.markup('<b> & "x" @team $') == "&lt;b&gt; &amp; &quot;x&quot; @\u200bteam <span>$</span>"
    assert escapes.markup("\x1b[31m ") == "(empty)"


def test_prose_makes_code_of_what_stands_in_backticks():
    assert escapes.prose("run `orch apply`, then `a`") == "run `orch apply`, then `a`"
    assert escapes.prose("`a``b`") == "`a` `b`"
    assert escapes.prose("a ` b") == "a &#96; b"


def test_a_fence_is_longer_than_what_it_holds():
    assert escapes.fence(["a", "````", "b"], "text") == "`````text\na\n````\nb\n`````"


def test_a_cell_and_a_link():
    assert escapes.cell("`a|b`") == "`a\\|b`"
    assert escapes.link("x", RUN) == f"[x]({RUN})"
    for target in ("javascript:alert(1)", "https://a.example/)[x](", "https://a b", "https://a.example/|"):
        assert escapes.link("x", target) == "x"


def test_all_that_unicode_calls_invisible_is_seen_or_gone():
    import sys
    import unicodedata

    # Arabic and Syriac signs and the like are formats by category, but have a shape.
    shaped = re.compile(
        "[\u0600-\u0605\u06dd\u070f\u0890-\u0891\u08e2\U000110bd\U000110cd\U00013430-\U00013440]"
    )
    left = [
        f"U+{point:04X}"
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and chr(point) in escapes.clean(f"a{chr(point)}b")
        and not shaped.match(chr(point))
    ]
    assert left == []


def plan(changes, **fields):
    return Plan(tuple(changes), (), (), is_applicable=True, terraform_version="1.11.4", contract={}, **fields)


def many(number, action, kind="aws_iam_role", details=3, size=20):
    return [
        Change(
            f"module.environment.{kind}.{action}_{index}",
            action,
            kind,
            details=tuple(Detail(f"attribute_{place}", "a" * size, "b" * size) for place in range(details)),
        )
        for index in range(number)
    ]


def test_five_thousand_changes_name_two_hundred_destroys_and_count_the_rest():
    changes = [
        *many(3_000, Action.CREATE, "aws_s3_bucket"),
        *many(1_700, Action.UPDATE),
        *many(300, Action.DELETE, "aws_sqs_queue"),
    ]
    shown = Board(COMMIT, RUN, (Row("prod", State.PLANNED, plan=plan(changes)),))
    rendered = markdown.comment(shown)
    assert 50_000 < len(rendered.body.encode()) <= 60_000
    assert rendered.body.count("> - destroys `module.environment.aws_sqs_queue.delete_") == 200
    assert f"> **100 more** in [the step summary]({RUN})" in rendered.body
    assert "**prod** destroys 300 resources:" in rendered.body
    listed = len(re.findall(r"^[-~+] module\.", rendered.body, re.MULTILINE))
    assert 300 < listed < 5_000
    assert f"**{5_000 - listed} more** in [the step summary]({RUN}): " in rendered.body
    assert "3000 `aws_s3_bucket`" in rendered.body
    assert rendered.overflow == ("prod",)
    structure(rendered.body)


@pytest.mark.parametrize(
    ("names", "key", "is_whole"),
    [
        (("prod",), "k" * 110, True),
        (("prod",), "k" * 2_000, False),
        (("prod",), "あ" * 300, False),
        (("dev", "staging", "prod", "demo"), "k" * 110, True),
        (("dev", "staging", "prod", "demo"), "ü" * 300, False),
    ],
    ids=["long", "longer than a line", "three bytes a character", "in four environments", "and longer there"],
)
def test_each_of_two_hundred_destroys_among_five_thousand_changes_is_named(names, key, is_whole):
    """Whole where there is room for 200, else by both ends: instances of one resource differ at the end of their addresses."""
    lost = [
        f'module.environment.module.service["payments"].aws_cloudwatch_metric_alarm.this["{key}{index:03}"]'
        for index in range(200)
    ]
    share = 200 // len(names)
    rows = [
        Row(
            name,
            State.PLANNED,
            plan=plan(
                [
                    *many(3_000 // len(names), Action.CREATE, "aws_s3_bucket"),
                    *many(1_800 // len(names), Action.UPDATE),
                    *(
                        # The longest reason that there is.
                        Change(address, Action.DELETE, reason="delete_because_no_move_target")
                        for address in lost[position * share : (position + 1) * share]
                    ),
                ]
            ),
            position=position,
            commit=COMMIT,
            run_url=RUN,
        )
        for position, name in enumerate(names)
    ]
    assert sum(len(row.plan.changes) for row in rows) == 5_000
    merged = ""
    for row in rows:
        merged = markdown.merge(merged, row).body
    for body in (markdown.comment(Board(COMMIT, RUN, tuple(rows))).body, merged):
        assert len(body.encode()) <= 60_000
        structure(body)
        named = [codes[0] for codes in codes_in_lists(body)]
        assert len(set(named)) == 200
        for name, address in zip(named, lost, strict=True):
            start, cut, end = name.partition("…")
            assert (not cut) is is_whole
            assert address == name or (address.startswith(start) and address.endswith(end) and end)


def test_three_environments_of_four_hundred_changes_share_the_room():
    rows = tuple(
        Row(name, State.PLANNED, plan=plan(many(400, Action.UPDATE)), position=place)
        for place, name in enumerate(("dev", "staging", "prod"))
    )
    rendered = markdown.comment(Board(COMMIT, RUN, rows))
    assert len(rendered.body.encode()) <= 60_000
    listed = [body.count("~ module.") for body in rendered.body.split("<details>")[1:]]
    assert len(listed) == 3
    assert min(listed) > 0.9 * max(listed) > 100
    assert rendered.overflow == ("dev", "staging", "prod")
    small = Row("dev", State.PLANNED, plan=plan(many(2, Action.UPDATE)))
    mixed = markdown.comment(Board(COMMIT, RUN, (small, *rows[1:])))
    assert mixed.overflow == ("staging", "prod")
    assert mixed.body.split("<details>")[1].count("attribute_2") == 4
    assert len(mixed.body.encode()) > 55_000


LARGE = {
    "two": [(330, 6), (339, 6)],
    "three": [(330, 6), (339, 6), (320, 6)],
    "many attributes": [(60, 30), (80, 30), (100, 30)],
    "one small, three large": [(3, 2), (300, 6), (130, 9), (430, 1)],
    "five": [(130, 6), (131, 6), (132, 6), (133, 6), (134, 6)],
}


@pytest.mark.parametrize("case", LARGE)
def test_jobs_whose_plans_do_not_fit_together_come_to_rest(case):
    """Each job merges its row, and again whenever it finds the comment changed: that must end, and with a share for each."""
    rows = [
        Row(
            f"env-{position}",
            State.PLANNED,
            plan=plan(
                [
                    *many(number, Action.CREATE, details=details),
                    *many(number // 9, Action.DELETE),
                    *many(number // 9, Action.UPDATE, details=details, size=90),
                ]
            ),
            position=position,
            commit=COMMIT,
            run_url=RUN,
        )
        for position, (number, details) in enumerate(LARGE[case])
    ]
    # All at once, as `orch plan --all` does, they lie as on a new board.
    together = markdown.merge("", *rows, max_bytes=20_000).body
    assert together == markdown.comment(Board("", "", tuple(rows)), max_bytes=20_000).body
    assert markdown.merge(together, *rows, max_bytes=20_000).body == together
    body, rounds = "", 0
    while any(markdown.merge(body, row, max_bytes=20_000).body != body for row in rows):
        rounds += 1
        assert rounds <= 3
        for row in rows:
            body = markdown.merge(body, row, max_bytes=20_000).body
    assert len(body.encode()) <= 20_000
    structure(body)
    sizes = [
        len(block.text) for part in board.parse(body) for block in part.blocks if block.kind == "section"
    ]
    assert len(sizes) == len(rows)
    assert min(size for size, (number, _) in zip(sizes, LARGE[case], strict=True) if number > 3) > 0.5 * max(
        sizes
    )


def test_the_ladder_drops_attributes_of_creates_then_long_values_then_all_attributes_then_lines():
    changes = [*many(5, Action.CREATE, "aws_new", size=5), *many(10, Action.UPDATE, details=2, size=900)]
    shown = Board(COMMIT, RUN, (Row("prod", State.PLANNED, plan=plan(changes)),))

    def at(limit):
        body = markdown.comment(shown, max_bytes=limit).body
        return body.count(" module."), body.count("attribute_"), body.count("a" * 900)

    full = markdown.comment(shown).body
    # Each of 15 resources; 5 * 3 attributes of creates and 10 * 2 of updates, two lines each.
    assert at(60_000) == (15, 70, 20)
    assert at(len(full.encode()) - 1) == (15, 40, 20)
    assert at(20_000) == (15, 40, 0)
    resources, attributes, _ = at(4_500)
    assert resources == 15
    assert 0 < attributes < 40
    assert f"of **{15 - attributes // 4} more** are in" in markdown.comment(shown, max_bytes=4_500).body
    lines = Board(COMMIT, RUN, (Row("prod", State.PLANNED, plan=plan(many(100, Action.UPDATE))),))
    body = markdown.comment(lines, max_bytes=4_000).body
    assert 0 < body.count("~ module.") < 100
    assert f"**{100 - body.count('~ module.')} more** in [the step summary]" in body
    with pytest.raises(ValueError, match="4000"):
        markdown.comment(lines, max_bytes=100)


def test_the_summary_holds_what_the_comment_cut_and_points_to_the_bundle_beyond_its_own_limit():
    changes = many(400, Action.UPDATE)
    shown = Board(COMMIT, RUN, (Row("prod", State.PLANNED, plan=plan(changes), bundle="orch-prod-c0ffee1"),))
    assert markdown.comment(shown).overflow == ("prod",)
    full = markdown.summary(shown)
    assert full.count("attribute_2") == 800
    assert "<!--" not in full
    short = markdown.summary(shown, max_bytes=5_000)
    assert "more** in the sealed bundle `orch-prod-c0ffee1`" in short


def test_a_long_value_shows_the_part_that_differs():
    before, after = "x" * 5_000 + "OLD" + "y" * 5_000, "x" * 5_000 + "NEW" + "y" * 5_000
    change = Change("a.b", Action.UPDATE, details=(Detail("policy", before, after),))
    body = markdown.comment(Board(COMMIT, RUN, (Row("dev", State.PLANNED, plan=plan([change])),))).body
    assert "xOLDy" in body
    assert "xNEWy" in body
    assert "x" * 1_000 not in body
    assert "(10005 characters)" in body


def test_a_diff_says_masks_secrets_and_what_forces_a_replacement():
    change = Change(
        "aws_x.y",
        Action.REPLACE,
        "aws_x",
        "replace_because_cannot_update",
        details=(
            Detail("password", Masked.SENSITIVE, Masked.SENSITIVE),
            Detail("size", 1, 2, forces_replacement=True),
            Detail("tags", Masked.ABSENT, {"Team": "web", "Key": Masked.SENSITIVE}),
            Detail("text", "(sensitive)", None),
            Detail("name", "a\u202eb\n", True),
        ),
    )
    body = markdown.comment(Board(COMMIT, RUN, (Row("dev", State.PLANNED, plan=plan([change])),))).body
    fence = next(token.content for token in parse(body) if token.type == "fence")
    assert fence.splitlines() == [
        "-/+ aws_x.y: replace (it cannot be changed in place)",
        "~     password: (sensitive), changed",
        "-     size: 1",
        "+     size: 2   # forces replacement",
        '+     tags: {"Team": "web", "Key": (sensitive)}',
        '-     text: "(sensitive)"',
        "+     text: null",
        '-     name: "a\\u202eb\\n"',
        "+     name: true",
    ]
    assert "> - replaces `aws_x.y`: `size` cannot be changed in place" in body


def test_what_only_gets_a_new_revision_raises_no_alarm():
    change = Change("aws_ecs_task_definition.this", Action.REPLACE, "aws_ecs_task_definition")
    body = markdown.comment(Board(COMMIT, RUN, (Row("dev", State.PLANNED, plan=plan([change])),))).body
    assert "> [!NOTE]\n> **dev** gets a new revision" in body
    assert "CAUTION" not in body
    gone = Change("aws_ecs_task_definition.this", Action.DELETE, "aws_ecs_task_definition")
    body = markdown.comment(Board(COMMIT, RUN, (Row("dev", State.PLANNED, plan=plan([gone, change])),))).body
    assert "> [!CAUTION]\n> **dev** destroys 1 resource:\n> - destroys" in body


def test_what_aws_refuses_to_delete_is_named_first():
    given = plan(
        [Change("aws_s3_bucket.b", Action.DELETE)], undeletable=("aws_s3_bucket.b: it is not empty",)
    )
    body = markdown.comment(Board(COMMIT, RUN, (Row("dev", State.PLANNED, plan=given),))).body
    assert (
        "resource:\n> - AWS will refuse this as it stands: aws\\_s3\\_bucket.b: it is not empty\n> - destroys"
        in body
    )


WEB = ServiceImage("web", "r/web@sha256:" + "1" * 64, "r/web@sha256:" + "2" * 64)


@pytest.mark.parametrize(
    ("state", "verdict", "cells"),
    [
        (State.PLANNED, None, ["web `11111111`\u00a0→ `22222222`", "✅ open", f"📋 [planned]({RUN})"]),
        (State.APPLYING, None, ["web `11111111`\u00a0→ `22222222`", "✅ open", f"⏳ [applying]({RUN})"]),
        (State.APPLIED, None, ["web `11111111`\u00a0→ `22222222`", "✅ open", f"✅ [applied]({RUN})"]),
        (
            State.ROLLED_OUT,
            Verdict.SUCCEEDED,
            ["web `22222222` ✅", "✅ open", f"✅ [rolled out: SUCCEEDED]({RUN})"],
        ),
        (
            State.ROLLED_OUT,
            Verdict.ROLLED_BACK,
            [
                "web ↩️ `22222222`, ROLLED_BACK; before: `11111111`",
                "✅ open",
                f"↩️ [rolled out: ROLLED_BACK]({RUN})",
            ],
        ),
        (
            State.ROLLED_OUT,
            Verdict.TIMED_OUT,
            [
                "web ❌ `22222222`, TIMED_OUT; before: `11111111`",
                "✅ open",
                f"❌ [rolled out: TIMED_OUT]({RUN})",
            ],
        ),
    ],
)
def test_the_life_of_an_environment(state, verdict, cells):
    image = ServiceImage(WEB.service, WEB.running, WEB.wanted, verdict, "the task stopped" if verdict else "")
    row = Row("dev", state, plan=plan(many(2, Action.DELETE)), images=(image,), run_url=RUN)
    body = markdown.comment(Board("", RUN, (row,))).body
    line = next(line for line in body.split("\n") if line.startswith("| <!-- orch:row"))
    assert line.split(" | ")[3:6] == cells
    is_over = state in {State.APPLIED, State.ROLLED_OUT}
    assert ("CAUTION" in body) is not is_over
    assert ("<details>" in body) is not is_over
    assert ("**dev**: 2 destroyed" in body) is is_over
    assert ("**dev**: web ROLLED_BACK: the task stopped" in body) is (verdict is Verdict.ROLLED_BACK)


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (ServiceImage("web", "", WEB.wanted), "none\u00a0→ `22222222`"),
        (ServiceImage("web", WEB.running, WEB.running), "`11111111`, stays"),
        (ServiceImage("web", "", ""), "none"),
        (ServiceImage("web", "a/x@sha256:12", "b/y@sha256:34"), "`x@12`\u00a0→ `y@34`"),
        (
            ServiceImage("web", WEB.running, WEB.running.partition("@")[0] + ":0123456789abcdef"),
            "`11111111`\u00a0→ `0123456789ab`, to be built",
        ),
        (ServiceImage("web", "", "r/web"), "none\u00a0→ `web`, to be built"),
    ],
)
def test_images(image, shown):
    body = markdown.comment(Board("", RUN, (Row("dev", State.PLANNED, images=(image,)),))).body
    assert f" | web {shown} | " in body


def test_a_failed_plan_shows_its_error_unfolded_and_a_skipped_one_why():
    rows = (
        Row("dev", State.FAILED, error="Error: no\n  such thing\n" + "more\n" * 50),
        Row("prod", State.SKIPPED, note="dev comes first", next_step="`orch plan`"),
    )
    body = markdown.comment(Board("", RUN, rows)).body
    assert "**dev** failed:\n\n```text\nError: no\n  such thing\nmore" in body
    assert "… 22 more lines\n```" in body
    assert "**prod**: dev comes first" in body
    assert "| `orch plan` |" in body


def test_a_pull_request_of_a_fork_says_why_nothing_was_planned():
    shown = board.of_a_fork(COMMIT, RUN, ("dev", "prod"))
    text = markdown.summary(shown)
    assert "> [!NOTE]\n> This pull request comes from a fork" in text
    assert "`GITHUB_TOKEN`" in text
    assert text.count(f"⏭️ [skipped]({RUN})") == 2
    assert text.count("a maintainer reviews the change") == 2


def test_two_hundred_environments_fit_too():
    rows = tuple(everywhere("x" * 200, f"{place}-{'e' * 90}", position=place) for place in range(200))
    rendered = markdown.comment(Board(COMMIT, RUN, rows))
    assert len(rendered.body.encode()) <= 60_000
    assert re.search(r"\| \*\*\d+ more\*\*, each in the step summary", rendered.body)
    assert len(rendered.overflow) == 200
    structure(rendered.body)


@pytest.mark.parametrize("hidden", ["\x1b[0m", "\u200b", "\x00"])
def test_something_invisible_hides_no_credential(hidden):
    token = "ghp_" + "a1B2" * 9
    told = f"pull with {token[:12]}{hidden}{token[12:]} now"
    shown = escapes.scrubbed(told)
    assert token[:12] not in shown
    assert token[12:] not in shown
    assert shown.startswith("pull with ")
    # Where there is none, what is invisible stays, to be shown as such.
    assert escapes.scrubbed(f"web{hidden}app") == f"web{hidden}app"
