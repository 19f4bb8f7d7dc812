from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import settings
from orchestrator.errors import SettingsError

MINIMAL = """
project = "demo"
region = "eu-central-1"

[services.web]
context = "app"

[environments.dev]
account_id = "111111111111"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "orch.toml"
    path.write_text(text)
    return path


def test_defaults_are_filled_in(tmp_path):
    loaded = settings.load(write(tmp_path, MINIMAL))
    dev = loaded.environment("dev")
    assert dev.region == "eu-central-1"
    assert dev.root_module == tmp_path / "terraform/envs/dev"
    assert dev.state_bucket == "orch-state-111111111111-eu-central-1"
    assert loaded.services["web"].dockerfile == "Dockerfile"
    assert loaded.image.engine == "auto"


def test_an_environment_overrides_what_it_sets(tmp_path):
    text = MINIMAL + 'region = "us-east-1"\nstate_bucket = "our-state"\nroot_module = "infra"\n'
    dev = settings.load(write(tmp_path, text)).environment("dev")
    assert (dev.region, dev.state_bucket, dev.root_module) == ("us-east-1", "our-state", tmp_path / "infra")


def test_an_unknown_environment_is_refused_with_the_list(tmp_path):
    loaded = settings.load(write(tmp_path, MINIMAL))
    with pytest.raises(SettingsError) as caught:
        loaded.environment("prod")
    assert caught.value.exit_code == 2
    assert "`prod`" in caught.value.message
    assert caught.value.hint == "choose one of: dev"


def test_all_problems_are_reported_at_once_with_their_lines(tmp_path):
    text = (
        'project = "Demo"\n'  # 1: upper case
        'regoin = "eu"\n'  # 2: unknown key
        "[services.web]\n"
        "[environments.dev]\n"
        'region = "eu-central-1"\n'
        'account_id = "12"\n'  # 6: not 12 digits
        "[environments.prod]\n"  # 7: account_id missing
        'region = "eu-central-1"\n'
    )
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, text))
    lines = sorted(detail.split(":")[0] for detail in caught.value.details)
    assert lines == ["line 1", "line 2", "line 6", "line 7"]
    assert any("environments.prod.account_id: is required" in detail for detail in caught.value.details)
    assert any("regoin: unknown key" in detail for detail in caught.value.details)


def test_no_region_anywhere_is_named(tmp_path):
    text = MINIMAL.replace('region = "eu-central-1"\n', "")
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, text))
    assert "no region" in caught.value.details[0]


@pytest.mark.parametrize("value", ["/etc", "../other", "a/../../b", ""])
def test_paths_stay_inside_the_project(tmp_path, value):
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, MINIMAL.replace('context = "app"', f'context = "{value}"')))
    assert "services.web.context" in caught.value.details[0]


def test_broken_toml_names_the_place(tmp_path):
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, 'project = "demo\n'))
    assert "line 1" in caught.value.details[0]


def test_find_walks_up(tmp_path):
    path = write(tmp_path, MINIMAL)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert settings.find(deep) == path
    with pytest.raises(SettingsError):
        settings.find(tmp_path.parent / "elsewhere")


def test_the_schema_describes_every_key(tmp_path):
    schema = settings.json_schema()
    environment = schema["$defs"]["EnvironmentSettings"]["properties"]
    assert environment["account_id"]["pattern"] == r"^\d{12}$"
    assert all("description" in key for key in environment.values())


@given(st.text())
def test_any_text_is_read_or_refused_never_a_bug(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    for location in [("a",), ("project",), ("environments", "dev")]:
        settings._line_of(text, location)
