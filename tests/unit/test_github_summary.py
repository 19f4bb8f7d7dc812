from __future__ import annotations

import pytest

from orchestrator.errors import GitHubError
from orchestrator.github.summary import LIMIT_BYTES, append, room


def test_sections_are_appended_to_what_the_step_wrote_already(tmp_path):
    path = tmp_path / "summary"
    path.write_text("before\n\n")
    assert append(path, "# One", "two ä") == ()
    assert path.read_text(encoding="utf-8") == "before\n\n# One\n\ntwo ä\n\n"
    assert room(path) == LIMIT_BYTES - path.stat().st_size


def test_what_does_not_fit_comes_back_whole_and_what_still_does_is_written(tmp_path):
    path = tmp_path / "summary"
    large = "ä" * (LIMIT_BYTES // 2)
    assert append(path, "small", large, "after") == (large,)
    assert path.read_text(encoding="utf-8") == "small\n\nafter\n\n"


def test_the_limit_itself_may_be_reached(tmp_path):
    path = tmp_path / "summary"
    assert append(path, "x" * (LIMIT_BYTES - 2)) == ()
    assert (path.stat().st_size, room(path)) == (LIMIT_BYTES, 0)
    assert append(path, "") == ("",)


def test_a_step_that_wrote_too_much_by_other_means_has_no_room(tmp_path):
    path = tmp_path / "summary"
    path.write_bytes(b"x" * (LIMIT_BYTES + 1))
    assert append(path, "more") == ("more",)
    assert path.stat().st_size == LIMIT_BYTES + 1


def test_text_that_is_no_unicode_is_written_all_the_same(tmp_path):
    path = tmp_path / "summary"
    assert append(path, "a\udcffb") == ()
    assert path.read_bytes() == b"a?b\n\n"


def test_a_file_that_cannot_be_written_is_explained(tmp_path):
    with pytest.raises(GitHubError) as caught:
        append(tmp_path / "none" / "summary", "text")
    assert "cannot be written: No such file or directory" in caught.value.message
    (tmp_path / "file").write_text("")
    with pytest.raises(GitHubError, match="Not a directory"):
        append(tmp_path / "file" / "summary", "text")
