"""A log line is one JSON object."""

import json
import logging

from functions.shared.telemetry.logs import log


def test_a_log_line_is_one_json_object_with_its_trace(lines):
    try:
        raise KeyError("x")
    except KeyError:
        log("failed", level=logging.ERROR, trace=True, order="o1", nothing=None)
    line = json.loads(lines[0])
    assert ("failed", "error", "o1") == (line["message"], line["level"], line["order"])
    assert "KeyError" in line["trace"] and "nothing" not in line
