from __future__ import annotations

import pytest

from orchestrator.errors import SettingsError
from orchestrator.terraform import mirror


def make_mirror(folder, *providers: str):
    for provider in providers:
        (folder / provider).mkdir(parents=True)
    return folder


def find(tmp_path, setting="", **environ):
    return mirror.cli_config(setting, {"HOME": str(tmp_path / "home"), **environ}, folder=tmp_path / "data")


@pytest.fixture(autouse=True)
def _no_places(monkeypatch, tmp_path):
    monkeypatch.setattr(mirror, "_PLACES", (str(tmp_path / "opt"), "~/.terraform.d"))


def test_nothing_anywhere_leaves_terraform_alone(tmp_path):
    assert find(tmp_path) == mirror.CliConfig(None)


@pytest.mark.parametrize("place", ["opt", "opt/plugins", "home/.terraform.d", "home/.terraform.d/mirror"])
def test_a_mirror_is_found_up_to_two_levels_below_the_usual_places(tmp_path, place):
    folder = make_mirror(tmp_path / place, "registry.terraform.io/hashicorp/aws")
    config = find(tmp_path)
    assert config.mirror == folder
    text = (tmp_path / "data/mirror.tfrc").read_text()
    assert str(folder) in text
    assert config.path == str(tmp_path / "data/mirror.tfrc")


def test_a_mirror_three_levels_down_is_not_looked_for(tmp_path):
    make_mirror(tmp_path / "opt/a/b", "registry.terraform.io/hashicorp/aws")
    assert find(tmp_path).mirror is None


def test_only_providers_in_the_mirror_come_from_it(tmp_path):
    make_mirror(
        tmp_path / "opt", "registry.terraform.io/hashicorp/aws", "registry.terraform.io/hashicorp/random"
    )
    find(tmp_path)
    text = (tmp_path / "data/mirror.tfrc").read_text()
    held = '["registry.terraform.io/hashicorp/aws", "registry.terraform.io/hashicorp/random"]'
    assert f"include = {held}" in text
    assert f"exclude = {held}" in text


def test_a_config_that_names_no_file_is_ignored_with_a_warning(tmp_path):
    make_mirror(tmp_path / "opt", "registry.terraform.io/hashicorp/aws")
    config = find(tmp_path, TF_CLI_CONFIG_FILE=str(tmp_path / "absent.tfrc"))
    assert "absent.tfrc, which does not exist" in config.warning
    assert config.mirror == tmp_path / "opt"


def test_the_users_own_config_is_left_alone(tmp_path):
    make_mirror(tmp_path / "opt", "registry.terraform.io/hashicorp/aws")
    own = tmp_path / "own.tfrc"
    own.write_text("")
    assert find(tmp_path, TF_CLI_CONFIG_FILE=str(own)) == mirror.CliConfig(str(own))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.terraformrc").write_text("")
    assert find(tmp_path) == mirror.CliConfig(None)


def test_the_setting_wins(tmp_path):
    make_mirror(tmp_path / "opt", "registry.terraform.io/hashicorp/aws")
    mine = make_mirror(tmp_path / "mine/inner", "registry.terraform.io/hashicorp/aws")
    assert find(tmp_path, setting=str(tmp_path / "mine")).mirror == mine


def test_a_setting_without_a_mirror_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="terraform.provider_mirror"):
        find(tmp_path, setting=str(tmp_path))
