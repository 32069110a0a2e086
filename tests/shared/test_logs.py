"""A log line is one JSON object."""

import json
import logging
from datetime import date
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from functions.shared.telemetry.logs import log


def test_a_log_line_is_one_json_object_with_its_trace(lines):
    try:
        raise KeyError("x")
    except KeyError:
        log("failed", level=logging.ERROR, trace=True, order="o1", nothing=None)
    line = json.loads(lines[0])
    assert ("failed", "error", "o1") == (line["message"], line["level"], line["order"])
    assert "KeyError" in line["trace"] and "nothing" not in line


def test_a_line_says_what_is_neither_json_nor_text(lines):
    log("arrived", day=date(2026, 11, 27), money=Decimal("1.50"), id=UUID(int=7), path=Path("/x"))
    line = json.loads(lines[0])
    assert ["2026-11-27", "1.50", str(UUID(int=7)), "/x"] == [line[name] for name in ("day", "money", "id", "path")]


@pytest.mark.parametrize("value", ["\ud800 half a character", b"\xff"])
def test_what_is_no_utf_8_is_logged_all_the_same(lines, value):
    log("arrived", value=value)
    assert str(value) == json.loads(lines[0])["value"]


def test_formats_of_others_find_what_they_ask_for(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("food"), "propagate", True)
    log("arrived", level=logging.WARNING)
    asked = (
        "%(asctime)s %(msecs)d %(name)s %(levelname)s %(pathname)s %(lineno)d %(threadName)s %(process)d %(message)s"
    )
    assert logging.Formatter(asked).format(caplog.records[0]).endswith(" 0 food WARNING  0  0 arrived")
