"""A start loads what the first answer needs, and nothing of what only work does."""

import subprocess
import sys

from triggers.stack import ROOT, load

WORK_NEEDS = {"argon2", "Cryptodome", "http.server", "jwt", "pg8000", "prometheus_client", "werkzeug"}


def test_no_function_loads_at_its_start_what_only_its_work_needs():
    files = {function.source.removesuffix(".py").replace("/", ".") for function in load()}
    program = f"""
import importlib, sys
import triggers.serve_function
for name in {sorted(files)}:
    importlib.import_module(name)
    for late in {WORK_NEEDS} & {{*sys.modules}}:
        sys.exit(f"{{name}} loads {{late}}")
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)

    assert (0, "") == (ran.returncode, ran.stderr)
