"""pyproject.toml declares what the code imports, and nothing else; constraints.txt pins all of it."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from triggers.stack import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONSTRAINTS, IMAGES = ROOT / "tools" / "constraints.txt", ROOT / "tools" / "image" / "requirements.txt"
CODE = ("functions", "schemas", "triggers", "tools")
# Declared and not imported: commands that are run by name, and data.
NO_IMPORT = {
    "functions-framework": "its command serves a function alone",
    "tzdata": "the zones for `zoneinfo`",
    "coverage": "a command",
    "pytest-xdist": "an option of pytest",
    "cyclonedx-bom": "a command",
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


# Hashes, and what an image holds


def pins_of(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Every distribution of a file of pins: its version, and the hashes of its files."""
    text = path.read_text("utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    form = re.compile(r"([\w.-]+)==([^\s;]+)(?: ;.*?)?((?: +--hash=sha256:[0-9a-f]{64})+)")
    found = [form.fullmatch(line) for line in lines]
    assert [line for line, match in zip(lines, found, strict=True) if match is None] == []
    return {name(match[1]): (match[2], re.findall(r"sha256:(\w+)", match[3])) for match in found}


def test_all_that_is_installed_has_a_version_and_hashes():
    everything, images = pins_of(CONSTRAINTS), pins_of(IMAGES)

    assert everything.items() >= images.items()
    assert not images.keys() & {"pytest", "ruff", "coverage"}
    assert declared("traces") <= images.keys()


def test_the_installers_take_nothing_without_a_hash():
    for file in ("tools/bootstrap.sh", "tools/image/Dockerfile"):
        text = (ROOT / file).read_text("utf-8").replace("\\\n", "")
        commands = [line for line in text.splitlines() if "--requirement" in line or " -r " in line]
        assert commands
        assert [line for line in commands if "--require-hashes" not in line] == []


def test_the_bill_of_materials_names_all_that_an_image_holds_with_its_hashes(tmp_path: Path):
    made = tmp_path / "sbom.json"
    subprocess.run(["make", "sbom", f"file={made}"], cwd=ROOT, check=True, capture_output=True)
    document = json.loads(made.read_text())

    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", PROJECT["name"])
    listed = {name(each["name"]): (each["version"], hashes_of(each)) for each in document["components"]}
    assert pins_of(IMAGES) == listed


def hashes_of(component: dict) -> list[str]:
    references = component["externalReferences"]
    return [each["content"] for reference in references for each in reference.get("hashes", ())]
