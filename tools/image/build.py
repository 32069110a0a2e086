"""Build images with docker, podman or buildah, whichever works here: `python -m tools.image.build [NAME...]`.

Without a NAME all are built: every function, every owner's bundle, triggers and jobs. What follows `--` goes to the
builder as it is: `python -m tools.image.build billing -- --no-cache`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from tools.image.assemble import Unknown, contents, names
from triggers.stack import ROOT

DOCKERFILE = "tools/image/Dockerfile"
# As in stack.yml, which the same variables change.
REGISTRY = os.environ.get("REGISTRY") or "registry.example.org/food"
VERSION = os.environ.get("VERSION") or "0.1.0"
# The client of docker may be there without its server; the others have none.
WORKS = {"docker": ["docker", "info"], "podman": ["podman", "--version"], "buildah": ["buildah", "--version"]}


class NotBuilt(Exception):
    """An image could not be built; the text says what to do."""


def builder() -> str:
    """The first program that can build images here. Raises NotBuilt."""
    for name, question in WORKS.items():
        if shutil.which(name) and subprocess.run(question, capture_output=True).returncode == 0:
            return name
    raise NotBuilt(f"expected one of {', '.join(WORKS)} at work here; found none: install one")


def tag(name: str, registry: str = REGISTRY, version: str = VERSION) -> str:
    """What an image is called, as in stack.yml."""
    return f"{registry}/{name}:{version}"


def build(name: str, engine: str, registry: str, version: str, more: Sequence[str] = ()) -> str:
    """Build one image and give its tag. Raises NotBuilt."""
    tagged = tag(name, registry, version)
    arguments = [f"--build-arg={key}={value}" for key, value in {"NAME": name, "VERSION": version}.items()]
    _run([engine, "build", f"--file={DOCKERFILE}", f"--tag={tagged}", *arguments, *more, "."])
    return tagged


def _run(command: list[str]) -> None:
    if subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode:
        raise NotBuilt(f"failed, see above: {' '.join(command)}")


def main() -> None:
    """The command: ends with one line when something is missing or fails."""
    own, more = _split(sys.argv[1:])
    options = _parser().parse_args(own)
    try:
        wanted = [name for name in options.names or names() if contents(name)]
        engine = options.builder or builder()
        for name in wanted:
            tagged = build(name, engine, options.registry, options.version, more)
            if options.push:
                _run([engine, "push", tagged])
    except (NotBuilt, Unknown) as problem:
        sys.exit(str(problem))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.image.build", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a function, an owner, triggers or jobs")
    parser.add_argument("--registry", default=REGISTRY, help="what goes before the name (%(default)s)")
    parser.add_argument("--version", default=VERSION, help="what goes behind it (%(default)s)")
    parser.add_argument("--builder", choices=WORKS, help="do not look for one that works")
    parser.add_argument("--push", action="store_true", help="push what was built")
    return parser


if __name__ == "__main__":
    main()
