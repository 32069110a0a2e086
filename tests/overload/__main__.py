"""More than the system can do, and less than it needs: `make overload parts="flood database"`.

Each part presses orders in while something is short, gives back what was missing, and then waits until every order
that was accepted has ended and its guest was told. Ends with 1 when one has not, when a client heard anything but an
order or a 503, when memory grew without end, or when the audit finds something. `--share 0.1` makes parts shorter.
"""

import signal
import sys
import time
from collections.abc import Iterator

import click

from tests.overload.parts import PARTS, Stage, staged
from tools.audit import findings
from tools.audit import report as audit_report

PATIENCE = 900.0


@click.command(help=__doc__)
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]))
@click.option("--share", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True))
@click.option("--keep", is_flag=True, help="keep the logs, and print where they are")
def main(parts: tuple[str, ...], share: float, keep: bool) -> None:
    """See the module's text."""
    problems = []
    # However it is told to stop, it gives back what it took.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with staged(keep) as stage:
        for name in parts or PARTS:
            print(f"{name}: {PARTS[name].__doc__.splitlines()[0]}", flush=True)
            found = [f"{name}: {problem}" for problem in _played(stage, name, share)]
            print("\n".join(found) or f"{name}: as it has to be", flush=True)
            problems += found
    sys.exit(1 if problems else 0)


def _played(stage: Stage, name: str, share: float) -> Iterator[str]:
    yield from PARTS[name](stage, share)
    began = time.monotonic()
    left = stage.until_ended(PATIENCE)
    print(f"  all ended {time.monotonic() - began:.1f} s after it was over" if not left else f"  {left}", flush=True)
    if left:
        yield left
    connection = stage.world.sql.connected()
    try:
        if found := findings(connection, open_is_fine=bool(left)):
            yield audit_report(found)
    finally:
        connection.close()


if __name__ == "__main__":
    main()
