"""Put together what one image holds, in FOLDER.

NAME is a function (billing-withdraw), an owner (billing: all its functions in one process), triggers or jobs. The
code is found by following the imports from what the image starts. So an image changes when code that it runs changes,
and not when a neighbour does.
"""

import ast
import compileall
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import NamedTuple

import click

from triggers.stack import ROOT, Function, load

JOBS = ("migrate", "cluster_secrets", "install", "audit", "dead_letters")
# What migrate loads by name: only the owner of the users knows how to make the first administrator.
LOADED_BY_NAME = ("functions.auth.first_admin",)

# exec, here and below: the server becomes process 1, and is sent SIGTERM itself.
START_FUNCTION = """\
#!/bin/sh
: "${{FUNCTION_SOURCE:={source}}}" "${{FUNCTION_TARGET:={target}}}"
export FUNCTION_SOURCE FUNCTION_TARGET
exec python -m triggers.serve_function "$@"
"""
START_OWNER = """\
#!/bin/sh
: "${{OWNER:={owner}}}"
export OWNER
exec python -m triggers.serve_owner "$@"
"""
START_ONE_OF = """\
#!/bin/sh
case "${{1:-}}" in
    {choices}) program=$1; shift; exec python -m "{package}.$program" "$@" ;;
    *) echo "expected one of {choices}; got ${{1:-nothing}}" >&2; exit 2 ;;
esac
"""


class Contents(NamedTuple):
    """What an image is made from: the modules that it starts, files that are no modules, and its start script."""

    modules: tuple[str, ...]
    files: tuple[str, ...]
    start: str


class Unknown(LookupError):
    """No image has that name; the text lists what there is."""


@cache
def triggers() -> tuple[str, ...]:
    """The processes of triggers/, but for those that serve functions: an image of a function starts with them."""
    files = sorted((ROOT / "triggers").glob("*.py"))
    programs = [path.stem for path in files if 'if __name__ == "__main__":' in path.read_text("utf-8")]
    return tuple(name for name in programs if not name.startswith("serve_"))


def names() -> list[str]:
    """Every image that there is."""
    owners = dict.fromkeys(function.owner for function in load())
    return [*(function.name for function in load()), *owners, "triggers", "jobs"]


def contents(name: str) -> Contents:
    """What goes into the image of that name. Raises Unknown."""
    if name == "triggers":
        return Contents(_modules("triggers", triggers()), ("stack.yml",), _one_of("triggers", triggers()))
    if name == "jobs":
        files = ("functions/*/tables/*.sql", "tools/*.sql")
        return Contents(_modules("tools", JOBS) + LOADED_BY_NAME, files, _one_of("tools", JOBS))
    alone = [function for function in load() if function.name == name]
    return _function(*alone) if alone else _bundle(name)


def _function(function: Function) -> Contents:
    start = START_FUNCTION.format(source=function.source, target=function.target)
    return Contents(("triggers.serve_function", _module(function)), (), start)


def _bundle(owner: str) -> Contents:
    modules = tuple(_module(function) for function in load() if function.owner == owner)
    if not modules:
        raise Unknown(f"NAME: expected one of {', '.join(names())}; got {owner or 'nothing'}")
    return Contents(("triggers.serve_owner", *modules), ("stack.yml",), START_OWNER.format(owner=owner))


def _module(function: Function) -> str:
    return function.source.removesuffix(".py").replace("/", ".")


def _modules(package: str, programs: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{package}.{program}" for program in programs)


def _one_of(package: str, programs: Iterable[str]) -> str:
    return START_ONE_OF.format(package=package, choices="|".join(programs))


def needed(modules: Iterable[str]) -> set[Path]:
    """The project's files that come in when `modules` are imported, all of their imports included."""
    waiting, found = list(modules), set()
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path and path not in found:
            found.add(path)
            waiting += [*_imports(path), name.rpartition(".")[0]]
    return found


def _file(module: str) -> Path | None:
    """The file of one of the project's modules; None for a library, or for a name within a module."""
    path = ROOT / module.replace(".", "/")
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if module and file.is_file()), None)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_names(ast.parse(path.read_text("utf-8"))))


def _names(code: ast.Module) -> Iterator[str]:
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def assemble(name: str, folder: Path) -> None:
    """Fill `folder`, compiled and dated alike, so that the same code gives the same layer. Raises Unknown."""
    wanted = contents(name)
    files = (path for pattern in wanted.files for path in ROOT.glob(pattern))
    for path in sorted({*needed(wanted.modules), *files}):
        _copy(path, folder / path.relative_to(ROOT))
    (folder / "start").write_text(wanted.start)
    (folder / "start").chmod(0o755)
    compileall.compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (0, 0))


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


@click.command(help=__doc__)
@click.argument("name")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(name: str, folder: Path) -> None:
    """See the module's text; ends with one line when there is no such image."""
    try:
        assemble(name, folder)
    except Unknown as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
