"""Who may import whom: schemas nobody, functions schemas, triggers both of the kits below them, tools everybody."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from triggers.stack import ROOT

FILES = sorted(path for top in ("schemas", "functions", "triggers", "tools") for path in (ROOT / top).rglob("*.py"))
OURS = {"schemas", "functions", "triggers", "tools", "tests"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or later, as far as it is one of ours."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] in OURS)


def allowed(path: Path) -> tuple[str, ...]:
    """What a file may import of ours, as beginnings of names."""
    top, *below = path.relative_to(ROOT).parts
    if top == "schemas":
        return ("schemas.",)
    if top == "functions":
        return ("schemas.", "functions.shared.", f"functions.{below[0]}.")
    if top == "triggers":
        return ("schemas.", "functions.shared.", "triggers.")
    return ("schemas.", "functions.", "triggers.", "tools.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_layer_may(path: Path):
    assert [] == [name for name in imports(path) if not f"{name}.".startswith(allowed(path))]


def test_what_runs_in_production_needs_nothing_of_the_local_system():
    names = ("migrate", "audit", "install", "cluster_secrets")
    jobs = [ROOT / "tools" / f"{name}.py" for name in names]
    assert [] == [name for path in jobs for name in imports(path) if name.startswith("tools.local")]


def test_nothing_but_tests_imports_what_compares_with_others():
    assert [] == [path for path in FILES if any(name.startswith("tests") for name in imports(path))]
