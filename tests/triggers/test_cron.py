"""Cron: calls what is due, once at a time, and logs what failed."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.fakes import FakeFunction
from tests.processes import end, log_of, run, start, trigger
from tests.system import eventually
from tools.local.children import Child
from triggers.cron import next_run

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


def stack(folder: Path, **schedules: str) -> Path:
    source = {"FUNCTION_SOURCE": "functions/x/y.py", "FUNCTION_TARGET": "y"}
    listed = {
        name: {"environment": source, "annotations": {"caller": "cron", "topic": "cron-function", "schedule": text}}
        for name, text in schedules.items()
    }
    path = folder / "stack.yml"
    path.write_text(yaml.safe_dump({"functions": listed}))
    return path


class Two:
    """Two functions that are due all the time, and cron."""

    def __init__(self, folder: Path):
        self.one, self.two = FakeFunction(), FakeFunction()
        self.one.behave = self.two.behave = lambda _: (200, {}, b"{}")
        urls = folder / "urls.json"
        urls.write_text(json.dumps({"one": self.one.url + "/function/one", "two": self.two.url}))
        self.cron: Child = trigger(
            "cron",
            folder,
            STACK_FILE=stack(folder, one="@every 10s", two="@every 1h"),
            FUNCTION_URLS=urls,
            CRON_EVERY_SECONDS=0.05,
        )


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    made.one.start()
    made.two.start()
    yield made
    end(made.cron)
    made.one.stop()
    made.two.stop()


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("@every 10s", "2026-11-23T12:00:40"),
        ("@every 5m", "2026-11-23T12:05:30"),
        ("@every 2h", "2026-11-23T14:00:30"),
        ("* * * * *", "2026-11-23T12:01:00"),
        ("*/15 * * * *", "2026-11-23T12:15:00"),
        ("0 3 * * *", "2026-11-24T03:00:00"),
        ("30 6 1 1 *", "2027-01-01T06:30:00"),
        ("0 0 * * 0", "2026-11-29T00:00:00"),
    ],
)
def test_a_schedule_says_when_it_is_due_next(schedule, expected):
    assert f"{expected}+00:00" == next_run(schedule, NOW).isoformat()


@pytest.mark.parametrize(
    "schedule", ["@every 0s", "@every 5d", "@hourly-ish", "61 * * * *", "* * *", "", "0 0 30 2 *"]
)
def test_a_schedule_that_is_none_is_reported(schedule):
    with pytest.raises(ValueError, match="schedule: expected `@every 10s` or five cron fields, got"):
        next_run(schedule, NOW)


def test_a_wrong_schedule_ends_the_clock_with_one_line_that_names_its_function(tmp_path):
    answer = run("triggers.cron", STACK_FILE=stack(tmp_path, good="@every 1s", bad="often"))
    assert 1 == answer.returncode
    text = "cannot start: bad: schedule: expected `@every 10s` or five cron fields, got 'often'\n"
    assert text == answer.stderr


def test_a_function_is_called_as_a_cron_connector_does(two):
    start(two.cron)
    call = two.one.wait_for(2)[0]
    assert ("POST", "/function/one", b"", "cron-function") == (
        call.method, call.path, call.body, call.headers["x-topic"],
    )  # fmt: skip
    two.two.wait_for(1)


def test_without_another_period_the_schedule_itself_counts(two, tmp_path):
    del two.cron.environment["CRON_EVERY_SECONDS"]
    stack(tmp_path, one="@every 1s", two="0 0 1 1 *")
    start(two.cron)
    two.one.wait_for(1)
    assert [] == two.two.calls


def test_a_run_that_takes_long_is_not_doubled_and_holds_up_no_other(two):
    go_on = threading.Event()
    two.one.behave = lambda _: (200, {}, b"{}") if go_on.wait(20) else (500, {}, b"")
    start(two.cron)
    two.two.wait_for(10)
    assert 1 == len(two.one.calls)
    go_on.set()
    two.one.wait_for(2)


def test_a_run_that_fails_is_reported_and_comes_again(two):
    two.one.behave = lambda _: (500, {}, b"broken")
    start(two.cron)
    two.one.wait_for(3)
    lines = eventually(lambda: [line for line in log_of(two.cron) if line["level"] == "warning"], "a warning")
    assert ("scheduled run failed", "one", "500 broken") == tuple(
        lines[0][name] for name in ("message", "function", "reason")
    )


def test_a_function_that_is_away_is_called_again_until_it_is_there(two):
    two.one.stop()
    start(two.cron)
    eventually(lambda: [line for line in log_of(two.cron) if line.get("function") == "one"], "a warning")
    two.one.start()
    two.one.wait_for(1)


def test_sigterm_ends_cron_at_once_even_with_a_run_in_flight(two):
    go_on = threading.Event()
    two.one.behave = lambda _: (200, {}, b"{}") if go_on.wait(20) else (500, {}, b"")
    start(two.cron)
    two.one.wait_for(1)
    assert 0 == end(two.cron, seconds=5)
    go_on.set()


def test_an_error_of_our_own_ends_no_schedule(two, tmp_path):
    urls = tmp_path / "urls.json"
    listed = urls.read_text()
    urls.unlink()
    start(two.cron)
    eventually(lambda: [line for line in log_of(two.cron) if "FileNotFound" in line.get("reason", "")], "its log")
    urls.write_text(listed)
    two.one.wait_for(2)
