"""Settings: read once, from variables or files, and all gaps named at once."""

import pytest
from pydantic import Field

from functions.shared.settings import Misconfigured, Settings, read


class Wanted(Settings):
    """Three settings."""

    wanted_url: str = Field(pattern="^http", description="where it is")
    wanted_count: int = Field(ge=1, description="how many")
    wanted_name: str = Field(default="x", description="its name")


def test_all_gaps_are_reported_in_one_line(settings):
    settings(WANTED_COUNT="none")
    with pytest.raises(Misconfigured) as raised:
        read(Wanted)
    first, second = str(raised.value).split("; ")
    assert "WANTED_URL is not set: where it is" == first
    assert second.startswith("WANTED_COUNT is wrong (") and second.endswith("): how many")


def test_a_file_holds_what_its_variable_would(settings, tmp_path):
    (tmp_path / "url").write_text("http://x\n")
    settings(WANTED_URL_FILE=str(tmp_path / "url"), WANTED_COUNT="3")
    assert ("http://x", 3, "x") == tuple(read(Wanted).model_dump().values())


def test_a_file_may_be_mounted_in_a_folder_of_its_name(settings, tmp_path):
    (tmp_path / "url").mkdir()
    (tmp_path / "url" / "url").write_text("http://x\n")
    settings(WANTED_URL_FILE=str(tmp_path / "url"), WANTED_COUNT="3")
    assert "http://x" == read(Wanted).wanted_url


def test_a_file_that_cannot_be_read_is_named(settings):
    settings(WANTED_URL_FILE="/nowhere/url")
    with pytest.raises(
        Misconfigured, match=r"^WANTED_URL_FILE: expected a readable file, got /nowhere/url \(No such"
    ):
        read(Wanted)
