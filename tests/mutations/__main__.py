"""Break a copy of the code at one place after another, and see that the test named for it fails.

Exit code 0: each was noticed; 1: one was not, or a test fails without any mistake too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.mutations.listed import MUTATIONS, Mutation
from triggers.stack import ROOT

LONGEST = 600  # seconds for a test that a mistake may have made endless


def copied(to: Path) -> Path:
    """The files of the project, as they are now, and nothing that was made from them."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
    return Path(shutil.copytree(ROOT, to / "food", ignore=ignored))


def outcome(root: Path, mutation: Mutation) -> int:
    """pytest's exit code: 0 passed, 1 failed, anything else: it did not come to that."""
    chosen = ["-k", mutation.only] if mutation.only else []
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.test, *chosen]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return 1
    (root / "last.log").write_text(done.stdout + done.stderr)
    return done.returncode


def noticed(root: Path, mutation: Mutation) -> bool:
    """Whether the test fails of the mistake and passes without it; says so."""
    path, began = root / mutation.file, time.monotonic()
    right = path.read_text("utf-8")
    path.write_text(mutation.applied(root), "utf-8")
    try:
        broken = outcome(root, mutation)
    finally:
        path.write_text(right, "utf-8")
    intact = outcome(root, mutation)
    verdict = "noticed" if (broken, intact) == (1, 0) else f"NOT NOTICED (pytest: {broken} with it, {intact} without)"
    print(f"{verdict:8} {time.monotonic() - began:5.0f} s  {mutation.name}", flush=True)
    return (broken, intact) == (1, 0)


def run(mutations: Iterable[Mutation]) -> bool:
    """Whether each of these is noticed."""
    with tempfile.TemporaryDirectory(prefix="food-mutations-") as directory:
        root = copied(Path(directory))
        return all([noticed(root, mutation) for mutation in mutations])


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mistakes whose name has one of these words")
    words = parser.parse_args().words
    chosen = [one for one in MUTATIONS if not words or any(word in one.name for word in words)]
    sys.exit(0 if run(chosen) else 1)


if __name__ == "__main__":
    main()
