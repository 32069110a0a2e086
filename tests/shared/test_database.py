"""Connections: kept, replaced, and errors sorted by what a caller can do."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from functions.shared import database
from functions.shared.settings import DatabaseSettings, read
from tests.kit import balance
from tests.system import Rows
from tools.local.processes import free_port


def terminate(admin: Rows, owner: str = "billing") -> None:
    admin.rows("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :owner", owner=owner)


def test_a_connection_that_was_ended_while_idle_is_replaced(billing):
    with database.transaction() as db:
        before = db.row("SELECT pg_backend_pid() AS pid").pid
    terminate(billing)
    with database.transaction() as db:
        assert before != db.row("SELECT pg_backend_pid() AS pid").pid


def test_a_connection_that_is_ended_in_the_middle_is_unavailable_and_nothing_was_done(billing):
    with pytest.raises(database.Unavailable), database.transaction() as db:
        db.rows("UPDATE clients SET balance = 5 WHERE username = 'user1'")
        terminate(billing)
        db.rows("SELECT 1")
    assert 1000 == balance(billing)
    with database.transaction() as db:
        assert 1 == db.row("SELECT 1 AS one").one


@pytest.mark.usefixtures("billing")
@pytest.mark.parametrize("size", [0, 1, 500, 70_000])
def test_an_answer_may_come_in_any_number_of_pieces(size):
    with database.transaction() as db:
        rows = db.rows(
            "SELECT n, repeat('x', CAST(:size AS integer)) AS text FROM generate_series(1, 9) AS n", size=size
        )
    assert [(n, "x" * size) for n in range(1, 10)] == [(row.n, row.text) for row in rows]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO clients (username) VALUES ('user1')", database.Duplicate),
        ("UPDATE clients SET balance = -1 WHERE username = 'user1'", database.Refused),
        ("SELECT CAST('x' AS integer)", database.Refused),
        ("SELECT * FROM auth.users", database.Refused),
        ("SELECT pg_sleep(10)", database.Conflict),
    ],
)
def test_errors_are_sorted_by_what_a_caller_can_do(billing, sql, expected):
    with pytest.raises(expected), database.transaction() as db:
        db.rows("SET LOCAL statement_timeout = '100ms'")
        db.rows(sql)
    assert 1000 == balance(billing)


@pytest.mark.usefixtures("billing")
def test_a_duplicate_names_its_key():
    with pytest.raises(database.Duplicate) as problem, database.transaction() as db:
        db.rows("INSERT INTO clients (username) VALUES ('user1')")
    assert "clients_pkey" == problem.value.constraint


@pytest.fixture
def changing(billing: Rows) -> Iterator[str]:
    """A role whose password is `old` and may be changed; gives its address, the password left out."""
    server = urlsplit(billing.url)
    billing.rows("CREATE ROLE changing LOGIN PASSWORD 'old'")
    billing.rows(f'GRANT CONNECT ON DATABASE "{server.path[1:]}" TO changing')
    yield f"postgresql://changing:{{}}@127.0.0.1:{server.port}{server.path}"
    database.pool.close()
    billing.rows("DROP OWNED BY changing")
    billing.rows("DROP ROLE changing")


def asked() -> int:
    """By a new connection: those that are kept know nothing of passwords."""
    database.pool.close()
    with database.autocommit() as db:
        return db.row("SELECT 1 AS one").one


def test_while_a_password_is_changed_either_lets_in(billing, changing, settings):
    settings(DATABASE_URL=f"{changing.format('new')}\n{changing.format('old')}")
    assert 1 == asked()
    billing.rows("ALTER ROLE changing PASSWORD 'new'")
    assert 1 == asked()


def test_whoever_has_read_the_old_password_alone_reads_its_file_again(
    billing, changing, settings, tmp_path, monkeypatch
):
    file = tmp_path / "url"
    file.write_text(changing.format("old"))
    settings(DATABASE_URL_FILE=str(file))
    monkeypatch.delenv("DATABASE_URL")
    read.cache_clear()
    assert 1 == asked()
    file.write_text(f"{changing.format('new')}\n{changing.format('old')}")
    billing.rows("ALTER ROLE changing PASSWORD 'new'")
    assert 1 == asked()


def test_a_password_that_nobody_knows_is_unavailable(changing, settings):
    settings(DATABASE_URL=changing.format("wrong"))
    with pytest.raises(database.NotLetIn):
        asked()


@pytest.mark.parametrize("url", ["postgresql://x@127.0.0.1:{port}/x", "postgresql://x@nohost.invalid/x"])
def test_a_server_that_is_not_there_is_unavailable(settings, url):
    settings(DATABASE_URL=url.format(port=free_port()))
    with pytest.raises(database.Unavailable, match="no connection to PostgreSQL at "), database.transaction():
        pass


@pytest.mark.parametrize("change", [("billing:", "nobody:"), ("/food", "/nofood")])
@pytest.mark.usefixtures("billing")
def test_a_server_that_does_not_let_us_in_is_unavailable(settings, change):
    settings(DATABASE_URL=read(DatabaseSettings).database_url.replace(*change))
    with pytest.raises(database.Unavailable), database.transaction():
        pass


def test_what_is_asked_for_after_the_commit_is_done_once(billing):
    done: list[bool] = []
    action = lambda: done.append(balance(billing) == 7)  # noqa: E731 - the same object twice
    with database.transaction() as db:
        db.after_commit(action)
        db.after_commit(action)
        db.rows("UPDATE clients SET balance = 7 WHERE username = 'user1'")
        assert [] == done
    assert [True] == done
    with database.transaction():
        pass
    assert [True] == done


def test_what_is_asked_for_after_the_commit_is_not_done_after_a_rollback(billing):
    done: list[int] = []
    with pytest.raises(KeyError), database.transaction() as db:
        db.after_commit(lambda: done.append(1))
        db.rows("UPDATE clients SET balance = 7 WHERE username = 'user1'")
        raise KeyError
    with database.transaction():
        pass
    assert ([], 1000) == (done, balance(billing))
