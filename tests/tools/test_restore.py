"""A restore, rehearsed as far as it goes without a cluster: a base backup and an archived log, up to a moment.

What the plugin of CloudNativePG does with a bucket, PostgreSQL does here with a folder.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import Rows, eventually
from tools.audit import findings
from tools.local.postgres import SUPERUSER, Postgres, find_binaries
from tools.local.processes import free_port
from tools.migrate import create_database, migrate

MAILS = "SELECT count(*) FROM notification.emails"


class Archived(Postgres):
    """A server that archives its log into a folder."""

    def __init__(self, directory: Path, port: int, archive: Path):
        super().__init__(directory, port)
        archive.mkdir(mode=0o777, exist_ok=True)
        archive.chmod(0o777)
        copy = f"test ! -f {archive}/%f && cp %p {archive}/%f"
        self.settings |= {"archive_mode": "on", "archive_command": copy, "wal_level": "replica"}


@pytest.fixture
def server(directory: Path) -> Iterator[Archived]:
    made = Archived(directory / "archived", free_port(), directory / "archive")
    made.start()
    yield made
    made.remove()


def backup(server: Archived, target: Path) -> None:
    command = [find_binaries() / "pg_basebackup", "--pgdata", target, "--host=127.0.0.1", f"--port={server.port}"]
    command += [f"--username={SUPERUSER}", "--checkpoint=fast", "--wal-method=none"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PGPASSWORD": server.password})


def restored(directory: Path, base: Path, archive: Path, moment: str, password: str) -> Postgres:
    """A server made from a backup and the log up to a moment."""
    made = Postgres(directory / "restored", free_port())
    made.directory.mkdir()
    (made.directory / "password").write_text(password)
    shutil.copytree(base, made.directory / "data")
    (made.directory / "data" / "recovery.signal").touch()
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres:postgres", made.directory / "data"], check=True)
    (made.directory / "data").chmod(0o700)
    made.settings |= {"restore_command": f"cp {archive}/%f %p", "recovery_target_action": "promote"}
    made.settings |= {"recovery_target_time": moment}
    made.start()
    return made


def test_a_database_is_made_anew_up_to_a_moment_and_holds_what_must_always_hold(server, directory, secrets):
    url = server.url("food")
    create_database(url)
    passwords = json.loads((secrets / "roles.json").read_text())
    migrate(url, passwords, admin_password="secret")
    food = Rows(url)
    backup(server, directory / "base")
    food.rows("UPDATE store.dishes SET opening_stock = opening_stock + 1, in_stock = in_stock + 1")
    before = food.rows("SELECT id, in_stock FROM store.dishes ORDER BY id")
    moment = food.value("SELECT now()::text")
    food.rows("UPDATE store.dishes SET in_stock = 0")  # the accident
    last = food.value("SELECT pg_walfile_name(pg_switch_wal())")
    eventually(lambda: (directory / "archive" / last).exists(), "the log to be archived")

    again = restored(directory, directory / "base", directory / "archive", moment, server.password)
    try:
        food = Rows(again.url("food"))
        eventually(lambda: not food.value("SELECT pg_is_in_recovery()"), "the end of the recovery")
        assert before == food.rows("SELECT id, in_stock FROM store.dishes ORDER BY id")
        connection = food.connected()
        assert findings(connection) == []
        connection.close()
        assert migrate(again.url("food"), passwords, admin_password="secret") == []
    finally:
        again.remove()
