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


def strategy_problems(tmp_path: Path, table: str) -> list[str]:
    """What is wrong with a `[services.web.strategy]` of these lines; the first is line 11."""
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, f"{MINIMAL}\n[services.web.strategy]\n{table}"))
    return list(caught.value.details)


def test_a_service_rolls_unless_it_says_otherwise(tmp_path):
    loaded = settings.load(write(tmp_path, MINIMAL))
    strategy = loaded.strategy(loaded.environment("dev"), "web")
    assert (strategy.type, strategy.is_staged) == ("rolling", False)


def test_an_environment_has_a_strategy_of_its_own(tmp_path):
    text = (
        MINIMAL
        + '[services.web.strategy]\ntype = "canary"\ncanary_percent = 12.5\npause_at = ["POST_SCALE_UP"]\n'
        '[environments.prod]\naccount_id = "222222222222"\n'
        '[environments.dev.strategy.web]\ntype = "rolling"\n'
    )
    loaded = settings.load(write(tmp_path, text))
    prod = loaded.strategy(loaded.environment("prod"), "web")
    assert loaded.strategy(loaded.environment("dev"), "web").type == "rolling"
    assert (prod.canary_percent, prod.canary_bake_time_minutes, prod.bake_time_minutes) == (12.5, 10, None)
    assert (prod.pause_at, prod.pause_timeout_minutes, prod.pause_timeout_action) == (
        ["POST_SCALE_UP"],
        1440,
        "rollback",
    )


def test_each_type_of_strategy_takes_its_own_keys_and_no_others(tmp_path):
    assert strategy_problems(
        tmp_path, 'type = "linear"\ncanary_percent = 5\nstep_percent = 2.9\nstep_bake_time_minutes = 1441\n'
    ) == [
        'line 13: services.web.strategy.canary_percent: is for type = "canary", and this strategy has type = "linear"',
        "line 14: services.web.strategy.step_percent: input should be greater than or equal to 3",
        "line 15: services.web.strategy.step_bake_time_minutes: input should be less than or equal to 1440",
    ]
    assert strategy_problems(tmp_path, 'type = "rolling"\nbake_time_minutes = 5\n') == [
        (
            'line 13: services.web.strategy.bake_time_minutes: is for type = "blue_green" or "linear" or "canary",'
            ' and this strategy has type = "rolling"'
        )
    ]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("", "line 11: services.web.strategy.type: is required"),
        (
            'type = "blue-green"',
            "line 12: services.web.strategy.type: input should be 'rolling', 'blue_green', 'linear' or 'canary'",
        ),
        (
            'type = "blue_green"',
            'line 11: services.web.strategy.bake_time_minutes: is required by type = "blue_green"',
        ),
        (
            'type = "canary"\ncanary_percent = 0.25',
            "line 13: services.web.strategy.canary_percent: must be a multiple of 0.1, not 0.25",
        ),
        (
            'type = "canary"\npause_timeout_minutes = 5',
            "line 13: services.web.strategy.pause_timeout_minutes: says how long a pause lasts, and pause_at names none",
        ),
        (
            'type = "canary"\npause_at = ["TEST_TRAFFIC_SHIFT"]',
            (
                "line 13: services.web.strategy.pause_at.0: no pause is possible at TEST_TRAFFIC_SHIFT; choose from:"
                " RECONCILE_SERVICE, PRE_SCALE_UP, POST_SCALE_UP, POST_TEST_TRAFFIC_SHIFT, PRE_PRODUCTION_TRAFFIC_SHIFT,"
                " POST_PRODUCTION_TRAFFIC_SHIFT"
            ),
        ),
        (
            'type = "canary"\npause_at = ["POST_SCALE_UP"]\npause_timeout_minutes = 20161',
            "line 14: services.web.strategy.pause_timeout_minutes: input should be less than or equal to 20160",
        ),
    ],
)
def test_what_is_wrong_with_a_strategy_is_said_at_its_line(tmp_path, table, problem):
    assert strategy_problems(tmp_path, table) == [problem]


def test_a_strategy_of_no_service_is_refused(tmp_path):
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, MINIMAL + '[environments.dev.strategy.wbe]\ntype = "rolling"\n'))
    assert caught.value.details == ("environments.dev.strategy.wbe: there is no service `wbe`",)


PATH = """
[environments.staging]
account_id = "222222222222"
promotes_from = "dev"

[environments.prod]
account_id = "333333333333"
promotes_from = "staging"

[environments.prod.promotion]
soak_minutes = 90
required_checks = ["test"]
"""


def test_the_path_of_promotions(tmp_path):
    loaded = settings.load(write(tmp_path, MINIMAL + PATH))
    assert loaded.path_to("prod") == ("dev", "staging", "prod")
    assert loaded.path_to("dev") == ("dev",)
    prod = loaded.environment("prod")
    assert (prod.promotes_from, prod.promotion.soak_minutes, prod.promotion.required_checks) == (
        "staging",
        90,
        ["test"],
    )
    assert loaded.promotion_branches(prod) == ()
    github = '[github]\nrepository = "acme/shop"\nbranches = ["main", "release"]\n'
    with_github = settings.load(write(tmp_path, MINIMAL + PATH + github))
    assert with_github.promotion_branches(with_github.environment("prod")) == ("main", "release")
    chosen = settings.load(write(tmp_path, MINIMAL + PATH + "branches = []\n" + github))
    assert chosen.promotion_branches(chosen.environment("prod")) == ()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (
            PATH.replace('"dev"', '"test"'),
            "environments.staging.promotes_from: there is no environment `test`",
        ),
        (
            PATH.replace('promotes_from = "dev"', 'promotes_from = "prod"'),
            "promotes_from must not lead back to where it began: ",
        ),
        (
            PATH.replace('"staging"', '"prod"'),
            "promotes_from must not lead back to where it began: prod → prod",
        ),
        (PATH.replace("90", "-1"), "input should be greater than or equal to 0"),
    ],
)
def test_a_path_that_leads_nowhere(tmp_path, path, problem):
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, MINIMAL + path))
    assert len(caught.value.details) == 1
    assert problem in caught.value.details[0]
