"""The whole system on this machine: run, stop, reset, look at.

`python -m tools.local run` is what `make run` does. DATABASE_URL and AMQP_URL make it use existing servers;
LOCAL_DIR, GATEWAY_PORT, BROKER_PORT, FUNCTIONS_PORT, LOCAL_POSTGRES_PORT and LOCAL_RABBITMQ_PORT move it.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import click

from tools.local.children import answers
from tools.local.installation import Installation
from tools.local.leftovers import end_leftovers
from tools.local.postgres import find_binaries
from tools.local.processes import StartFailed, send, start_time, wait_until

LONGEST_STOP = 90


@click.group(help=__doc__)
def main() -> None:
    """See the module's text."""


@main.command()
@click.option("--each", is_flag=True, help="a process for every function")
def run(each: bool) -> None:
    """Start everything; Ctrl-C stops it."""
    from tools.local.stack import run as run_stack

    with _installation() as installation:
        run_stack(installation, each)


@main.command()
def stop() -> None:
    """Stop the running system and wait until it has stopped."""
    with _installation() as installation:
        _stop(installation)


@main.command()
@click.option("--yes", is_flag=True, help="do not ask")
def reset(yes: bool) -> None:
    """Stop, and delete the databases, queues, passwords and logs, after asking."""
    with _installation() as installation:
        if not yes and not _agreed(f"Delete {installation.directory}, orders and passwords included?"):
            click.echo("nothing was deleted")
            return
        _stop(installation)
        installation.remove()
        click.echo(f"deleted {installation.directory}")


@main.command()
@click.argument("owner", required=False)
def psql(owner: str | None) -> None:
    """Open psql on the database as its administrator, in the schema of OWNER if one is named."""
    with _installation() as installation:
        parts = urlsplit(installation.required_running()["database"])
        os.environ["PGPASSWORD"] = unquote(parts.password or "")
        if owner:
            os.environ["PGOPTIONS"] = f"-c search_path={owner}"
        program = find_binaries() / "psql"
        where = ["-h", parts.hostname, "-p", str(parts.port or 5432), "-U", unquote(parts.username)]
        _become([str(program) if program.exists() else "psql", *where, parts.path[1:]])


@main.command()
def logs() -> None:
    """Follow all logs."""
    with _installation() as installation:
        files = sorted(map(str, [*installation.logs.glob("*.log"), *installation.directory.glob("*/*.log")]))
        if not files:
            raise StartFailed(f"no logs in {installation.logs}: start the system with make run")
        _become(["tail", "-n", "5", "-F", *dict.fromkeys(files)])


@main.command()
def status() -> None:
    """Say what runs, and whether it answers."""
    with _installation() as installation:
        status = installation.required_running()
    click.echo(f"pid {status['pid']}, {'ready' if status['ready'] else 'starting'}")
    for name in ("gateway", "broker"):
        state = "answers" if answers(status[name] + "/health") else "does not answer"
        click.echo(f"{name:12} {status[name]} {state}")
    for name, (pid, start) in status["processes"].items():
        click.echo(f"{name:12} pid {pid} {'runs' if start_time(pid) == start else 'does not run'}")


@contextmanager
def _installation() -> Iterator[Installation]:
    """The installation here; what cannot be done with it is said in one line."""
    try:
        yield Installation.from_environment()
    except StartFailed as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(installation: Installation) -> None:
    status = installation.running()
    if not status:
        count = end_leftovers(installation.status())
        installation.run_file.unlink(missing_ok=True)
        found = f"ended {count} processes of a run that was killed" if count else "nothing runs"
        click.echo(f"{found} in {installation.directory}")
        return
    send(status["pid"], signal.SIGTERM)
    if not wait_until(lambda: not start_time(status["pid"]), LONGEST_STOP, every=0.1):
        raise StartFailed(f"pid {status['pid']} still runs after {LONGEST_STOP} s: see {installation.logs}")
    click.echo("stopped")


def _agreed(question: str) -> bool:
    try:
        return input(f"{question} Type yes: ").strip() == "yes"
    except EOFError:
        return False


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        raise StartFailed(f"{command[0]} is not installed") from None


if __name__ == "__main__":
    main()
