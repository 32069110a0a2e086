"""The one command that writes what is generated: names what is stale, and leaves nothing out."""

from tests.processes import run
from tools.generate import stack_ce


def test_nothing_in_the_tree_is_stale():
    done = run("tools.generate", "--check")
    assert (0, "nothing is stale\n") == (done.returncode, done.stdout), done.stderr


def test_what_is_stale_is_named_and_the_command_ends_with_1(monkeypatch):
    from tools.generate.__main__ import main

    monkeypatch.setattr(stack_ce, "FILE", stack_ce.ROOT / "stack-that-is-not-there.yml")
    try:
        main(["--check"])
    except SystemExit as ended:
        assert "stale, run make generate: stack-that-is-not-there.yml" == ended.code
    assert not stack_ce.FILE.exists()
