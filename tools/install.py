"""Make what an installation keeps to itself: keys, passwords, a client secret. None ships with the code.

`python -m tools.install DIR` makes what is missing in DIR and keeps what is there. `--database HOST:PORT/NAME` also
writes DIR/deployment: a file for every secret that stack.yml names, each with the content that a function reads.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from tools.private_files import locked, password, write_private
from tools.role_url import role_url

FUNCTIONS = Path(__file__).parents[1] / "functions"
SHARED = "shared"
# By which functions and triggers know each other (functions/shared/installation.py).
TOKEN = "installation-token"


def owners(root: Path = FUNCTIONS) -> list[str]:
    """The folders that keep tables: each is a schema and a role."""
    return sorted(path.parent.name for path in root.glob("*/tables") if path.parent.name != SHARED)


def install(directory: Path) -> list[str]:
    """Make the files that `directory` lacks and give their names. Safe by two at once: the first's stay."""
    directory = Path(directory)
    with locked(directory):
        directory.chmod(0o700)
        made = [name for name, make in MAKERS.items() if _write_missing(directory / name, make)]
        return made + _add_roles(directory / "roles.json")


def _write_missing(path: Path, make: Callable[[Path], str]) -> bool:
    if path.exists():
        return False
    write_private(path, make(path.parent))
    return True


def _add_roles(path: Path) -> list[str]:
    """A password for every owner's database role; an owner that came with a newer version gets one too."""
    known = json.loads(path.read_text()) if path.exists() else {}
    missing = [owner for owner in owners() if owner not in known]
    if missing:
        write_private(path, json.dumps(known | {owner: password() for owner in missing}, indent=2) + "\n")
    return [path.name] if missing else []


def deployment(directory: Path, database: str) -> dict[str, str]:
    """The secrets that functions read, by the names in stack.yml; `database` is HOST:PORT/NAME."""
    roles = json.loads((directory / "roles.json").read_text())
    address = f"postgresql://{database}"
    urls = {f"{owner}-database-url": role_url(address, owner, roles[owner]) for owner in owners()}
    return urls | {name: (directory / file).read_text() for name, file in DEPLOYED.items()}


def write_deployment(directory: Path, database: str) -> Path:
    """Write those secrets to files, anew each time, and give their folder."""
    folder = directory / "deployment"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, value in deployment(directory, database).items():
        write_private(folder / name, value)
    return folder


def _private_key(_: Path) -> str:
    from Cryptodome.PublicKey import RSA

    return RSA.generate(2048).export_key(pkcs=8).decode() + "\n"


def _public_key(directory: Path) -> str:
    from Cryptodome.PublicKey import RSA

    key = RSA.import_key((directory / "jwt-private.pem").read_text())
    return key.public_key().export_key().decode() + "\n"


# The imports above are late because a start that finds everything in place does without them.
MAKERS: dict[str, Callable[[Path], str]] = {
    "jwt-private.pem": _private_key,
    "jwt-public.pem": _public_key,
    "admin-password": lambda _: password(),
    "oauth-client-secret": lambda _: password(),
    TOKEN: lambda _: password(),
}

# Secrets of stack.yml that are files of an installation as they are; the others are the owners' databases.
DEPLOYED = {
    "jwt-public-key": "jwt-public.pem",
    "jwt-private-key": "jwt-private.pem",
    "oauth-client-secret": "oauth-client-secret",
    TOKEN: TOKEN,
}


@click.command(help=__doc__)
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--database", metavar="HOST:PORT/NAME", help="where the functions reach the database")
def main(directory: Path, database: str | None) -> None:
    """See the module's text."""
    try:
        made = install(directory)
        deployed = write_deployment(directory, database) if database else None
    except OSError as problem:
        sys.exit(f"{directory}: expected a directory that can be written, got: {problem.strerror}")
    click.echo(f"{directory}: made {', '.join(made)}" if made else f"{directory}: nothing to do")
    if deployed:
        click.echo(f"{deployed}: a file for each secret of stack.yml")


if __name__ == "__main__":
    main()
