"""Fail when the tests run less than nine tenths of a file of functions/ or triggers/, and name it."""

import json
import subprocess
import sys

FLOOR = 90


def main() -> None:
    """Read what the last run of coverage recorded."""
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", "-"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    shares = {name: file["summary"]["percent_covered"] for name, file in found["files"].items()}
    low = sorted((share, name) for name, share in shares.items() if share < FLOOR)
    for share, name in low:
        print(f"{name}: expected {FLOOR} % of its lines to be run by tests, got {share:.0f} %")
    sys.exit(bool(low))


if __name__ == "__main__":
    main()
