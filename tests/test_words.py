"""The project's words are those of its field: what it once called otherwise occurs nowhere any more."""

import io
import re
import subprocess
import tokenize

import pytest

from triggers.stack import ROOT

# What was said before, and what the field says.
OLD = {
    r"\bwaiting rooms?\b|\bROOMS\b": "retry queue",
    r"\b_?bury\b|\bburied\b|\bburiers?\b|\bLetters?\b": "dead-letter, DeadLetter",
    r"\bin_hand\b|\bin hand\b": "in flight",
    r"OutOfWork": "Unavailable",
    r"_lost_its_way|_came_back": "unroutable, _on_return",
    r"\bWired\b|\bTakers?\b": "WireEvent, Subscriber",
    r"\btold_by\b": "extract",
    r"\bfigures?\b|\bmeasured\.py\b|\btally\b|\bclock_(?!timestamp)\w+|\w_clock\b|\b\w+-figures\b": "metrics, cron_*",
    r"\bwatched\b|\b_tell\b": "instrumented, _log, report",
    r"\balone\.py\b|\bhost\.py\b": "serve_function.py, serve_owner.py",
    r"\bopening\.py\b|\brefusals\.py\b|\breach\.py\b": "saga_start.py, validation_errors.py, targets.py",
    r"\bSurroundings\b|\bborn\b": "environment, start time",
    r"\b(Paid|Stored|Delivered)\b\)": "AfterPay, AfterStore, AfterDelivery",
    r"\bdoors?\b": "endpoint",
    r"lets work in": "admission",
}
NOT_OURS = ("tests/platforms/crds/", "tests/platforms/modules/", "tests/recorded/original")
# The list itself, and what says how things were renamed.
NAMES_THEM = ("tests/test_words.py", "CHANGELOG.md")


def texts() -> list[str]:
    """Every file of the repository that is text and our own."""
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in git.stdout.splitlines() if not name.startswith(NOT_OURS + NAMES_THEM)]


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    return [
        (f"{name}:{number}", line)
        for name in texts()
        for number, line in enumerate((ROOT / name).read_text("utf-8", errors="replace").splitlines(), 1)
    ]


@pytest.mark.parametrize(("old", "instead"), OLD.items(), ids=OLD.values())
def test_an_old_word_occurs_nowhere(lines, old: str, instead: str):
    pattern = re.compile(old, re.IGNORECASE if old.islower() else 0)
    assert [] == [f"{at}: {line.strip()}" for at, line in lines if pattern.search(line)], f"say {instead}"


def test_names_say_report_or_log():
    telling = re.compile(r"(^|_)(told|tells?)(_|$)")
    found = [
        f"{name}:{token.start[0]}"
        for name in texts()
        if name.endswith(".py")
        for token in tokenize.generate_tokens(io.StringIO((ROOT / name).read_text("utf-8")).readline)
        if token.type == tokenize.NAME and telling.search(token.string)
    ]
    assert [] == found
