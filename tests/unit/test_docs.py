"""The documentation: what is generated is not stale, its examples are true, and its schemas hold for what orch prints."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import typer

import orchestrator.cli
from orchestrator import events, settings
from orchestrator.model import (
    Action,
    Change,
    Detail,
    Image,
    Lock,
    LockKind,
    Masked,
    Plan,
    Release,
    ServiceStatus,
    Standing,
    Verdict,
)
from orchestrator.report import json_lines

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import docs_links  # noqa: E402
import docs_tables  # noqa: E402
import docs_verbs  # noqa: E402

import docs  # noqa: E402

PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "verbs")
SCHEMA = json.loads((ROOT / "docs/schema/json-lines.json").read_text())
RELEASE = Release(
    id="20260101T000000Z-abc",
    environment="dev",
    service="web",
    account_id="111111111111",
    region="eu-central-1",
    image=Image("registry/web", "sha256:" + "a" * 64),
    commit="c" * 40,
    revision_arn="arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web:7",
    verdict=Verdict.SUCCEEDED,
    reason="completed",
    running_count=2,
    desired_count=2,
    actor="arn:aws:iam::111111111111:user/ana",
    started_at="2026-01-01T00:00:00+00:00",
    durations_s={"rollout": 1.5},
)
PLAN = Plan(
    (Change("aws_a.b", Action.UPDATE, details=(Detail("tags", {"a": [1, None]}, Masked.SENSITIVE),)),),
    (),
    (),
    is_applicable=True,
    terraform_version="1.11.4",
    contract={"account_id": "111111111111"},
)
STATUS = ServiceStatus(
    *("dev", "web", "arn:…:7", "registry/web@sha256:1", "COMPLETED", 1, 1, "", "", "", Standing.RELEASED, 1)
)
LINES = [
    json_lines.line(events.StepFinished("plan", "Plan", "done", "", 1.0)),
    json_lines.line(events.PlanReady("dev", PLAN)),
    json_lines.line(events.Released(RELEASE)),
    json_lines.line(events.StageEntered("web", "1", "CANARY", "BAKE_TIME", None, "", "")),
    json_lines.value_line(STATUS),
    json_lines.value_line(Lock("dev", LockKind.RUN, "1", 120.0)),
    json_lines.error_line("no", "", (), 1),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line)["type"])
def test_the_schema_holds_for_what_is_printed(line):
    jsonschema.validate(json.loads(line), SCHEMA, jsonschema.Draft202012Validator)


def test_the_schema_refuses_a_line_without_what_it_must_have():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"type": "step_finished", "name": "plan"}, SCHEMA)


def test_the_schema_of_orch_toml_takes_the_file_of_this_repository_and_no_unknown_key():
    schema = json.loads((ROOT / "docs/schema/orch.toml.json").read_text())
    file = tomllib.loads((ROOT / "orch.toml").read_text())
    jsonschema.validate(file, schema)
    with pytest.raises(jsonschema.ValidationError, match="colour"):
        jsonschema.validate(file | {"colour": 1}, schema)


def test_every_verb_that_typer_knows_has_a_page_and_a_man_page():
    def paths(group, above=""):
        for name in group.list_commands(None):
            yield f"{above}{name}"
            member = group.get_command(None, name)
            if hasattr(member, "list_commands"):
                yield from paths(member, f"{above}{name}-")

    known = set(paths(typer.main.get_command(orchestrator.cli.app)))
    assert known == {verb.slug for verb in docs_verbs.verbs()}
    written = {path.name for path in docs.files()}
    assert {f"{slug}.md" for slug in known} | {f"orch-{slug}.1" for slug in known} | {"orch.1"} <= written


def test_a_page_of_a_verb_tells_spellings_values_defaults_and_exit_codes():
    found = {verb.path: verb for verb in docs_verbs.verbs()}
    scale = docs_verbs.page(found["scale"])
    assert "orch scale --env TEXT [OPTIONS] COUNT" in scale
    assert "`--wait, --no-wait`" in scale
    assert "`--project PATH`" in scale
    apply = docs_verbs.page(found["apply"])
    assert "`--env, -e TEXT`\n:   The environment, as orch.toml names it. Required." in apply
    assert "`--output, -o text|json`" in apply
    assert "Default: `text`." in apply
    assert "| 21 | a sealed plan is stale" in apply
    assert "| 21 |" not in docs_verbs.page(found["deploy"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_toml_example_is_one_that_orch_takes(page):
    blocks = re.findall(r"^( *)```toml\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE)
    base = {
        "project": "demo",
        "region": "eu-central-1",
        "services": {"hello": {}},
        "environments": {"dev": {"account_id": "111111111111"}, "prod": {"account_id": "333333333333"}},
    }
    for _, block in blocks:
        settings._File.model_validate(_merged(base, tomllib.loads(block)))


def _merged(base, more):
    both = {
        key: _merged(base[key], more[key]) for key in base.keys() & more.keys() if isinstance(base[key], dict)
    }
    return base | more | both


def test_every_command_in_the_pages_is_one_that_orch_has():
    found = {verb.path: verb for verb in docs_verbs.verbs()}
    lines = [
        f"$ {line}" for verb in found.values() if verb.is_callable for line in verb.words.example.splitlines()
    ]
    lines += [line for page in PAGES for line in page.read_text().splitlines()]
    commands = [match[1] for line in lines if (match := re.match(r" *\$ .*?\b(orch [a-z][^|>)#]*)", line))]
    for command in commands:
        words = shlex.split(command)
        path = next(" ".join(words[1:end]) for end in (4, 3, 2) if " ".join(words[1:end]) in found)
        known = {name for one in found[path].parameters for name in one.names}
        used = words[: words.index("--")] if "--" in words else words
        assert not [word for word in used if word.startswith("-") and word not in known], command
    assert len(commands) > 80


def test_every_cause_says_how_it_is_recognised():
    text = docs_tables.known_causes()
    assert "### The image is not in the registry { #image-not-found }" in text
    assert "`manifest unknown`" in text
    assert "Push *image*, or roll out an image" in text
    assert text.count("**Recognised by:**") == text.count("**What to do:**") == len(docs_tables.causes.TABLE)
    assert "(?" not in text


def test_every_key_of_orch_toml_is_in_the_reference_with_its_type_and_default():
    text = docs_tables.configuration()
    assert "## `[[environments.NAME.gates.freeze]]`" in text
    assert "`canary_percent` — number, 0.1 to 100, default `5.0`" in text
    assert "`account_id` — text, required" in text
    assert '`on_cancel` — `rollback` or `detach`, default `"rollback"`' in text
    names = {
        name
        for model in json.loads((ROOT / "docs/schema/orch.toml.json").read_text())["$defs"].values()
        for name in model["properties"]
    }
    assert not [
        name
        for name in names
        if f"`{name}`" not in text and not re.search(rf"^## .*\b{name}\b", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_somewhere(page):
    # Anchors are known once the site is built: scripts/docs_links.py.
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).is_file(), target


def test_stale_pages_are_named(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "stale.md"
    stale.write_text("before")
    monkeypatch.setattr(docs, "files", lambda: {stale: "after"})
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    assert docs.main(["--check"]) == 1
    assert "stale.md" in capsys.readouterr().err
    assert docs.main([]) == 0
    assert stale.read_text() == "after"
    assert docs.main(["--check"]) == 0


def test_broken_links_and_what_is_loaded_from_elsewhere_are_found(tmp_path, capsys):
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="b.html#there">b</a><a href="#top"></a><a href="https://example.org/x">x</a>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there"></h1>')
    assert docs_links.main(tmp_path) == 0
    (tmp_path / "b.html").write_text(
        '<a href="gone.html">x</a><a href="a.html#gone">y</a><script src="https://cdn.example/x.js"></script>'
        '<link rel="stylesheet" href="//cdn.example/x.css">'
    )
    assert docs_links.main(tmp_path) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "a.html: b.html#there: no such anchor",
        "b.html: loads https://cdn.example/x.js",
        "b.html: loads //cdn.example/x.css",
        "b.html: gone.html leads nowhere",
        "b.html: a.html#gone: no such anchor",
    ]
