"""The whole system on this machine: run, stop, reset, look at.

`python -m tools.local run` is what `make run` does. DATABASE_URL and AMQP_URL make it use existing servers;
LOCAL_DIR, GATEWAY_PORT, BROKER_PORT, FUNCTIONS_PORT, LOCAL_POSTGRES_PORT and LOCAL_RABBITMQ_PORT move it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from tools.local.children import answers
from tools.local.installation import Installation
from tools.local.postgres import find_binaries
from tools.local.processes import StartFailed, send, start_time, wait_until

LONGEST_STOP = 90


def run(installation: Installation, arguments: argparse.Namespace) -> None:
    """Start everything; Ctrl-C stops it."""
    from tools.local.stack import run as run_stack

    run_stack(installation, arguments.each)


def stop(installation: Installation, _: argparse.Namespace) -> None:
    """Stop the running system and wait until it has stopped."""
    status = installation.running()
    if not status:
        print(f"nothing runs in {installation.directory}")
        return
    send(status["pid"], signal.SIGTERM)
    if not wait_until(lambda: not start_time(status["pid"]), LONGEST_STOP, every=0.1):
        raise StartFailed(f"pid {status['pid']} still runs after {LONGEST_STOP} s: see {installation.logs}")
    print("stopped")


def reset(installation: Installation, arguments: argparse.Namespace) -> None:
    """Stop, and delete the databases, queues, passwords and logs, after asking."""
    if not arguments.yes and not _agreed(f"Delete {installation.directory}, orders and passwords included?"):
        print("nothing was deleted")
        return
    stop(installation, arguments)
    installation.remove()
    print(f"deleted {installation.directory}")


def _agreed(question: str) -> bool:
    try:
        return input(f"{question} Type yes: ").strip() == "yes"
    except EOFError:
        return False


def psql(installation: Installation, arguments: argparse.Namespace) -> None:
    """Open psql on the database as its administrator, in one owner's schema if one is named."""
    parts = urlsplit(installation.required_running()["database"])
    os.environ["PGPASSWORD"] = unquote(parts.password or "")
    if arguments.owner:
        os.environ["PGOPTIONS"] = f"-c search_path={arguments.owner}"
    program = find_binaries() / "psql"
    where = ["-h", parts.hostname, "-p", str(parts.port or 5432), "-U", unquote(parts.username)]
    _become([str(program) if program.exists() else "psql", *where, parts.path[1:]])


def logs(installation: Installation, _: argparse.Namespace) -> None:
    """Follow all logs."""
    files = sorted(map(str, [*installation.logs.glob("*.log"), *installation.directory.glob("*/*.log")]))
    if not files:
        raise StartFailed(f"no logs in {installation.logs}: start the system with make run")
    _become(["tail", "-n", "5", "-F", *dict.fromkeys(files)])


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        raise StartFailed(f"{command[0]} is not installed") from None


def status(installation: Installation, _: argparse.Namespace) -> None:
    """Say what runs, and whether it answers."""
    status = installation.required_running()
    print(f"pid {status['pid']}, {'ready' if status['ready'] else 'starting'}")
    for name in ("gateway", "broker"):
        print(f"{name:12} {status[name]} {'answers' if answers(status[name] + '/health') else 'does not answer'}")
    for name, (pid, start) in status["processes"].items():
        print(f"{name:12} pid {pid} {'runs' if start_time(pid) == start else 'does not run'}")


COMMANDS: dict[str, Callable[[Installation, argparse.Namespace], None]] = {
    command.__name__: command for command in (run, stop, reset, psql, logs, status)
}


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.local", description=__doc__, formatter_class=form)
    commands = parser.add_subparsers(dest="command", required=True)
    parsers = {name: commands.add_parser(name, help=command.__doc__) for name, command in COMMANDS.items()}
    parsers["run"].add_argument("--each", action="store_true", help="a process for every function")
    parsers["reset"].add_argument("--yes", action="store_true", help="do not ask")
    parsers["psql"].add_argument("owner", nargs="?", help="whose schema to look at first")
    return parser


def main() -> None:
    """Run one command; what cannot be done is said in one line."""
    arguments = _parser().parse_args()
    try:
        COMMANDS[arguments.command](Installation.from_environment(), arguments)
    except StartFailed as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
