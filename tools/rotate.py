"""Change a secret of an installation on the cluster of kubectl, while everything runs: `begin`, `switch`, `finish`.

WHAT is database (the owners' passwords), jwt (the key that signs), oauth-client or token (the installation's own).

`begin` makes a new one and lets both be known. `switch` uses the new one: for database, the migration gives it to
the roles. `finish` forgets the old one. Between two steps wait until every pod has seen the first: two minutes, for
jwt an hour before `finish`, until the last token that the old key signed has ended. Each may be run again.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from tools.deploy import DeployFailed, kubectl
from tools.install import deployment, install, owners
from tools.private_files import password

NAMESPACE = "food"
INSTALLATION = "food-install"
# The installation's file of each, and the Secrets that come of it.
FILES = {"database": "roles.json", "jwt": "jwt-public.pem", "oauth-client": "oauth-client-secret",
         "token": "installation-token"}  # fmt: skip
KEY, BEFORE = "jwt-private.pem", ".before"
# Read at the start alone, so what has them is started again; the others are read again by themselves.
READ_ONCE = {"jwt", "oauth-client"}
Values = dict[str, str]


class NotRotated(Exception):
    """The step does not fit; the text says which one does."""


def begin(what: str, values: Values) -> Values:
    """The installation with a new secret beside the old one. Running again changes nothing."""
    if FILES[what] + BEFORE in values:
        return values
    with TemporaryDirectory() as made:
        install(Path(made))
        fresh = {path.name: path.read_text() for path in Path(made).iterdir()}
    if what == "database":
        fresh[FILES[what]] = json.dumps({owner: password() for owner in owners()}, indent=2) + "\n"
    names = [FILES[what], *([KEY] if what == "jwt" else [])]
    return values | {name + BEFORE: values[name] for name in names} | {name: fresh[name] for name in names}


def finish(what: str, values: Values) -> Values:
    """The installation without the old one."""
    return {name: value for name, value in values.items() if name not in (FILES[what] + BEFORE, KEY + BEFORE)}


def secrets(what: str, values: Values, address: str, step: str) -> Values:
    """What the functions' Secrets hold after a step: both values between `begin` and `finish`, the new one first."""
    new = _deployed(values, address)
    if FILES[what] + BEFORE not in values:
        return {name: new[name] for name in _names(what)}
    old = _deployed(values | {name.removesuffix(BEFORE): value for name, value in values.items()
                              if name.endswith(BEFORE)}, address)  # fmt: skip
    joint = "." if what == "token" else "\n"
    both = {name: f"{new[name].strip()}{joint}{old[name].strip()}" for name in _names(what)}
    if what == "jwt":
        # Only one key signs; it does when everybody knows both.
        both["jwt-private-key"] = (old if step == "begin" else new)["jwt-private-key"]
    return both


def _names(what: str) -> list[str]:
    by_owner = [f"{owner}-database-url" for owner in owners()]
    of_jwt = ["jwt-public-key", "jwt-private-key"]
    others = {"jwt": of_jwt, "oauth-client": ["oauth-client-secret"], "token": ["installation-token"]}
    return by_owner if what == "database" else others[what]


def _deployed(values: Values, address: str) -> Values:
    with TemporaryDirectory() as made:
        for name, value in values.items():
            (Path(made) / name).write_text(value)
        return deployment(Path(made), address)


# -- the cluster ----------------------------------------------------------------------------------------------


def _get(name: str) -> Values:
    found = json.loads(kubectl("get", "secret", name, "--namespace", NAMESPACE, "-o", "json"))
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def _put(name: str, values: Values) -> None:
    metadata = {"name": name, "namespace": NAMESPACE}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    patch = json.dumps([{"op": "replace", "path": "/data", "value": data}])
    # By standard input: a command line is read by everybody on the machine.
    command = ["kubectl", "patch", "secret", name, "--namespace", NAMESPACE, "--type=json", "--patch-file=/dev/stdin"]
    done = subprocess.run(command, input=patch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeployFailed(f"secret {metadata['name']}: {done.stderr.strip()}")


def _address() -> str:
    url = _get("order-database-url")["order-database-url"].split()[0]
    return url.rpartition("@")[2]


def _restart(names: list[str]) -> None:
    """Start those anew that mount one of these Secrets; Knative and Kubernetes do it one after the other."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    patch = json.dumps({"spec": {"template": {"metadata": {"annotations": {"food/restarted": moment}}}}})
    for kind in ("services.serving.knative.dev", "deployments.apps"):
        listed = json.loads(kubectl("get", kind, "--namespace", NAMESPACE, "-o", "json"))["items"]
        for item in listed:
            volumes = item["spec"]["template"]["spec"].get("volumes", ())
            if {each.get("secret", {}).get("secretName") for each in volumes} & set(names):
                name = item["metadata"]["name"]
                kubectl("patch", kind, name, "--namespace", NAMESPACE, "--type=merge", "--patch", patch)
                print(f"started anew: {name}")


def rotate(what: str, step: str) -> None:
    """One step, on the cluster. Raises NotRotated or DeployFailed."""
    values = _get(INSTALLATION)
    begun = FILES[what] + BEFORE in values
    if step != "begin" and not begun:
        raise NotRotated(f"{what}: nothing has begun, or it is finished: run begin")
    values = {"begin": begin, "finish": finish}.get(step, lambda _, known: known)(what, values)
    _put(INSTALLATION, values)
    made = secrets(what, values, _address(), step)
    for name, value in made.items():
        _put(name, {name: value})
    print(f"{what}: {step}: {', '.join(made)}")
    if what in READ_ONCE:
        _restart(list(made))
    if what == "database" and step == "switch":
        print("now run the migration, which gives the roles their passwords: make deploy does")


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (NotRotated, DeployFailed) as problem:
        sys.exit(str(problem))


@click.command(help=__doc__)
@click.argument("what", type=click.Choice(sorted(FILES)))
@click.argument("step", type=click.Choice(["begin", "switch", "finish"]))
def main(**given: Any) -> None:
    """See the module's text."""
    with _one_line():
        rotate(**given)


if __name__ == "__main__":
    main()
