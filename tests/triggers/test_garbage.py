"""Garbage is looked for in every process that serves, and in none of what it has loaded."""

import subprocess
import sys

import pytest

from tools.local.environment import ROOT
from tools.local.processes import free_port
from triggers.garbage import THRESHOLDS

SEEN = "import gc; print(gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 10_000)"
FUNCTION = {"FUNCTION_SOURCE": "functions/pay/sale.py", "FUNCTION_TARGET": "sale"}


@pytest.mark.parametrize(
    ("begins", "environment"),
    [
        ("import triggers.serve_function as a; a.serve_functions = lambda *_: None; a.main()", FUNCTION),
        # As each of several workers begins.
        ("import triggers.serve_function as a; a.app()", FUNCTION),
        ("import triggers.serve_owner as a; a.app()", {"OWNER": "pay"}),
        (
            "import triggers.server as a, triggers.gateway as g; a._Server.run = lambda *_: None; g.main()",
            {},
        ),
        (
            "import triggers.dispatcher as a; a.uvloop.run = lambda made: made.close(); a.main()",
            {"AMQP_URL": "amqp://127.0.0.1:1"},
        ),
    ],
    ids=["a function", "a worker", "an owner", "the gateway", "the dispatcher"],
)
def test_what_is_loaded_is_left_alone_and_the_rest_is_looked_at_seldom(begins, environment):
    given = {"PORT": str(free_port()), "DATABASE_URL": "postgresql://pay@127.0.0.1:1/none",
             "INSTALLATION_TOKEN": "off", "FUNCTION_URL": "http://127.0.0.1:1/{name}"}  # fmt: skip
    command = [sys.executable, "-c", f"{begins}; {SEEN}"]
    done = subprocess.run(command, cwd=ROOT, env=given | environment, capture_output=True, text=True, timeout=60)
    assert f"True {THRESHOLDS} True\n" == done.stdout, done.stderr
