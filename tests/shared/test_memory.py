"""What every order passes leaves nothing behind, not even where Python keeps it for later.

`f(*(... for ...))` makes a tuple for ten and cuts it to its size. Freed, it goes to the free tuples of that size, of
which Python keeps up to 2,000 for each, and the next one is made anew: some MiB in every process, after half an hour.
"""

import ast
from pathlib import Path

import pytest

from triggers.stack import ROOT

FILES = sorted((ROOT / "functions").rglob("*.py"))


def cut_tuples(text: str) -> list[int]:
    """The lines with a call whose arguments are a generator and nothing else."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and len(node.args) == 1]
    arguments = [call.args[0] for call in calls]
    return [
        one.lineno for one in arguments if isinstance(one, ast.Starred) and isinstance(one.value, ast.GeneratorExp)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_call_takes_its_arguments_from_a_generator(path: Path):
    assert [] == cut_tuples(path.read_text("utf-8"))


def test_such_a_call_is_found():
    assert [2] == cut_tuples("f(*[a for a in b])\nzip(*(a for a in b), strict=True)\nf(1, *(a for a in b))")
