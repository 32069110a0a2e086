"""pyproject.toml declares what the code imports, and nothing else; constraints.txt pins all of it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from triggers.stack import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CODE = ("functions", "schemas", "triggers", "tools")
# Declared and not imported: commands that are run by name, and data.
NO_IMPORT = {
    "functions-framework": "its command serves a function alone",
    "tzdata": "the zones for `zoneinfo`",
    "coverage": "a command",
    "pytest-xdist": "an option of pytest",
    "ruff": "a command",
}
# Programs of other engines bring their own environments.
OTHERS = ("tests/peers/on_",)


def name(requirement: str) -> str:
    """The distribution's name in its one normal form."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def declared(*extras: str) -> set[str]:
    listed = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {name(each) for group in listed for each in group} - {PROJECT["name"]}


def imported(*folders: str) -> dict[str, set[str]]:
    """The distributions that files import, by module: any of them may be the one that is meant."""
    known = packages_distributions()
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    files = [path for path in paths if not str(path.relative_to(ROOT)).startswith(OTHERS)]
    modules = {module for path in files for module in modules_of(path)} - {*CODE, "tests", *sys.stdlib_module_names}
    return {module: {name(each) for each in known.get(module, [module])} for module in sorted(modules)}


def modules_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folders", "extras"), [(CODE, ("traces",)), ((*CODE, "tests"), ("traces", "dev"))], ids=["code", "tests"]
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], extras: tuple[str, ...]):
    wanted = declared(*extras)
    assert [] == [module for module, origins in imported(*folders).items() if not origins & wanted]


def test_what_is_declared_is_imported():
    brought = {origin for origins in imported(*CODE).values() for origin in origins}
    assert set() == declared("traces") - brought - NO_IMPORT.keys()
    for_tests = {origin for origins in imported("tests").values() for origin in origins}
    assert set() == declared("dev") - declared() - for_tests - NO_IMPORT.keys()


def test_what_is_declared_is_pinned_to_the_version_that_is_installed():
    constraints = (ROOT / "tools" / "constraints.txt").read_text("utf-8")
    pinned = {name(pin): version for pin, version in re.findall(r"^([\w.-]+)==(\S+)", constraints, re.MULTILINE)}
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    wanted = {name(each): each.partition("==")[2] for group in groups for each in group if "==" in each}
    assert wanted == {each: pinned.get(each) for each in wanted}
