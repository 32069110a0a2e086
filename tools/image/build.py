"""Build images with docker, podman or buildah, whichever works here.

Each NAME is a function, an owner (all its functions in one image), triggers or jobs. Without one all are built.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence

import click
from pydantic import Field

from functions.shared.settings import Settings, read
from tools.image.assemble import Unknown, contents, names
from triggers.stack import ROOT

DOCKERFILE = "tools/image/Dockerfile"
# The client of docker may be there without its server; the others have none.
WORKS = {"docker": ["docker", "info"], "podman": ["podman", "--version"], "buildah": ["buildah", "--version"]}


class ImageSettings(Settings):
    """What images are called: the variables and their defaults are those of stack.yml."""

    registry: str = Field(default="registry.example.org/food", description="what goes before an image's name")
    version: str = Field(default="0.1.0", description="what goes behind it")


class NotBuilt(Exception):
    """An image could not be built; the text says what to do."""


def builder() -> str:
    """The first program that can build images here. Raises NotBuilt."""
    for name, question in WORKS.items():
        if shutil.which(name) and subprocess.run(question, capture_output=True).returncode == 0:
            return name
    raise NotBuilt(f"expected one of {', '.join(WORKS)} at work here; found none: install one")


def tag(name: str, registry: str, version: str) -> str:
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


@click.command(help=__doc__)
@click.argument("wanted", nargs=-1, metavar="[NAME]...")
@click.option("--registry", default=lambda: read(ImageSettings).registry, help="what goes before the name")
@click.option("--version", default=lambda: read(ImageSettings).version, help="what goes behind it")
@click.option("--builder", "engine", type=click.Choice(list(WORKS)), help="do not look for one that works")
@click.option("--with", "more", multiple=True, metavar="OPTION", help="an option for the builder: --with=--no-cache")
@click.option("--push", is_flag=True, help="push what was built")
def main(
    wanted: tuple[str, ...], registry: str, version: str, engine: str | None, more: tuple[str, ...], push: bool
) -> None:
    """See the module's text; ends with one line when something is missing or fails."""
    try:
        found = [name for name in wanted or names() if contents(name)]
        engine = engine or builder()
        for name in found:
            tagged = build(name, engine, registry, version, more)
            if push:
                _run([engine, "push", tagged])
    except (NotBuilt, Unknown) as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
