"""Migration: every file once, by any number at once, and nobody in another owner's schema."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from pg8000.native import DatabaseError

from tools.install import FUNCTIONS, owners
from tools.local.environment import ROOT
from tools.local.postgres import Postgres, find_binaries
from tools.local.processes import free_port, wait_until
from tools.migrate import MigrationFailed, connected, create_database, migrate
from tools.role_url import role_url

PASSWORDS = {owner: f"{owner}-password" for owner in owners()}
numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    directory = Path(tempfile.mkdtemp(prefix="food-migrate-"))
    directory.chmod(0o755)
    postgres = Postgres(directory / "postgres", free_port(), fast=True)
    postgres.start()
    yield postgres
    postgres.remove()
    shutil.rmtree(directory)


@pytest.fixture
def url(server: Postgres) -> str:
    """The administrator's address of an empty database."""
    address = server.url(f"food{next(numbers)}")
    create_database(address)
    return address


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small system: two owners, a common table, a table each."""
    write(tmp_path, "shared/tables/001_inbox.sql", "CREATE TABLE inbox (id text PRIMARY KEY);")
    write(
        tmp_path,
        "billing/tables/001_money.sql",
        "CREATE TABLE money (id int GENERATED ALWAYS AS IDENTITY, what text);\n"
        "INSERT INTO money (what) VALUES ('a: colon, a % and a '' quote');",
    )
    write(tmp_path, "order/tables/001_orders.sql", "CREATE TABLE orders (id text);")
    return tmp_path


def write(root: Path, name: str, sql: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sql)


def rows(url: str, sql: str) -> list:
    with connected(url) as connection:
        return connection.run(sql)


def as_role(url: str, owner: str) -> str:
    return role_url(url, owner, PASSWORDS[owner])


def refusal(url: str, sql: str) -> str:
    """The code with which PostgreSQL refuses."""
    with connected(url) as connection, pytest.raises(DatabaseError) as problem:
        connection.run(sql)
    return problem.value.args[0]["C"]


FORBIDDEN = "42501"


def test_first_run_applies_every_file_and_the_second_has_nothing_to_do(url: str, root: Path):
    done = migrate(url, PASSWORDS, root)
    assert [line for line in done if line.endswith(".sql")] == [
        "billing: shared/001_inbox.sql",
        "billing: billing/001_money.sql",
        "order: shared/001_inbox.sql",
        "order: order/001_orders.sql",
    ]
    assert migrate(url, PASSWORDS, root) == []


def test_all_owners_of_the_system_can_be_migrated_twice(url: str):
    migrate(url, PASSWORDS, FUNCTIONS)
    assert migrate(url, PASSWORDS, FUNCTIONS) == []


def test_file_is_applied_once_by_many_at_once(url: str, root: Path):
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: migrate(url, PASSWORDS, root), range(4)))
    files = [line for done in runs for line in done if line.endswith(".sql")]
    assert len(files) == len(set(files)) == 4


def test_two_databases_of_one_server_are_migrated_at_once(server: Postgres, root: Path):
    urls = [server.url(f"twin{number}") for number in range(3)]
    for url in urls:
        create_database(url)
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda url: migrate(url, PASSWORDS, root), urls))
    assert [sum(line.endswith(".sql") for line in done) for done in runs] == [4, 4, 4]


def test_database_is_made_by_two_at_once(server: Postgres):
    url = server.url("made_by_two")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(create_database, [url] * 2))
    assert rows(url, "SELECT current_database()") == [["made_by_two"]]


def test_changed_file_is_refused_with_advice(url: str, root: Path):
    migrate(url, PASSWORDS, root)
    write(root, "order/tables/001_orders.sql", "CREATE TABLE orders (id uuid);")
    with pytest.raises(MigrationFailed, match=r"001_orders\.sql.*never edit an applied file.*add a new file"):
        migrate(url, PASSWORDS, root)


def test_new_file_is_applied_later(url: str, root: Path):
    migrate(url, PASSWORDS, root)
    write(root, "order/tables/002_more.sql", "ALTER TABLE orders ADD note text;")
    assert migrate(url, PASSWORDS, root) == ["order: order/002_more.sql"]


def test_failing_file_leaves_nothing_behind_and_is_named(url: str, root: Path):
    write(root, "order/tables/002_bad.sql", "CREATE TABLE half (id int); SELECT nonsense;")
    with pytest.raises(MigrationFailed, match=r"order: .*002_bad\.sql: .*nonsense"):
        migrate(url, PASSWORDS, root)
    assert rows(url, "SELECT to_regclass('\"order\".half')") == [[None]]


def test_missing_password_says_what_to_run(url: str, root: Path):
    with pytest.raises(MigrationFailed, match=r"billing: .*tools\.install"):
        migrate(url, {}, root)


def test_unreachable_server_is_one_line(root: Path):
    port = free_port()
    with pytest.raises(MigrationFailed, match=f"no connection to 127.0.0.1:{port}"):
        migrate(f"postgresql://nobody:x@127.0.0.1:{port}/food", PASSWORDS, root)


def test_owner_works_in_its_own_schema_without_naming_it(url: str, root: Path):
    migrate(url, PASSWORDS, root)
    billing = as_role(url, "billing")
    rows(billing, "INSERT INTO money (what) VALUES ('x'); UPDATE money SET what = 'y'; DELETE FROM money")
    assert rows(as_role(url, "order"), "SELECT * FROM orders") == []


def test_table_of_a_later_file_is_open_to_its_owner(url: str, root: Path):
    migrate(url, PASSWORDS, root)
    write(
        root,
        "billing/tables/002_more.sql",
        "CREATE TABLE later (id serial, x int);",
    )
    migrate(url, PASSWORDS, root)
    assert rows(as_role(url, "billing"), "INSERT INTO later (x) VALUES (1) RETURNING id") == [[1]]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM auth.users",
        'SELECT * FROM "order".inbox',
        "CREATE TABLE mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMP TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE clients DROP CONSTRAINT balance_not_negative",
        "TRUNCATE movements",
        "DELETE FROM migrations",
    ],
)
def test_billing_cannot(url: str, statement: str):
    migrate(url, PASSWORDS)
    assert refusal(as_role(url, "billing"), statement) == FORBIDDEN


def test_password_that_changed_is_set(url: str, root: Path):
    migrate(url, PASSWORDS, root)
    changed = PASSWORDS | {"billing": "another"}
    assert migrate(url, changed, root) == ["billing: password of the role"]
    with pytest.raises(MigrationFailed, match="password"):
        rows(as_role(url, "billing"), "SELECT 1")
    migrate(url, PASSWORDS, root)


def test_nobody_need_make_roles_where_an_administrator_has_made_them(server: Postgres):
    name, file = f"food{next(numbers)}", ROOT / "k8s" / "roles.sql"
    variables = [f"--set={owner}={PASSWORDS[owner]}" for owner in owners()]
    psql = [find_binaries() / "psql", "--quiet", "--set=ON_ERROR_STOP=1", *variables, "--file", file, server.url()]
    for _ in range(2):
        subprocess.run(psql, check=True)
    with connected(server.url()) as admin:
        admin.run("CREATE ROLE humble LOGIN PASSWORD 'humble'")
        admin.run(f"CREATE DATABASE {name} OWNER humble")

    migrate(role_url(server.url(name), "humble", "humble"), PASSWORDS, admin_password="secret")

    assert [["billing"]] == rows(as_role(server.url(name), "billing"), "SELECT current_schema()")


def test_owner_of_the_database_need_not_be_a_superuser(server: Postgres, root: Path):
    """As on a managed server; the roles are new ones, because it may not touch another administrator's."""
    for old, new in (("billing", "tills"), ("order", "orders")):
        (root / old).rename(root / new)
    with connected(server.url()) as admin:
        admin.run("CREATE ROLE modest LOGIN CREATEROLE PASSWORD 'modest'")
        admin.run("CREATE DATABASE modest OWNER modest")
    url = server.url("modest", "modest", "modest")
    passwords = {"tills": "t", "orders": "o"}
    assert migrate(url, passwords, root)
    assert migrate(url, passwords, root) == []
    assert refusal(role_url(url, "tills", "t"), "SELECT * FROM orders.orders") == FORBIDDEN


# What functions of the version with an inbox have prepared on connections that they keep.
FIND = "SELECT source, id, reply FROM inbox WHERE function = :function AND id = ANY(CAST(:ids AS text[]))"
REMEMBER = """
    INSERT INTO inbox (function, source, id, subject, reply)
    SELECT :function, * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[]),
                                    CAST(:subjects AS text[]), CAST(:replies AS text[]))
"""
FORGET = "DELETE FROM inbox WHERE subject = ANY(CAST(:subjects AS text[]))"
PUT = """
    INSERT INTO outbox (id, event, traceparent, tracestate) VALUES (:id, :event, :traceparent, :tracestate)
    ON CONFLICT (id) DO NOTHING
"""
WAITS = """
    SELECT id, event, traceparent, tracestate FROM outbox WHERE refusal IS NULL
     ORDER BY position LIMIT 100 FOR UPDATE SKIP LOCKED
"""
ASKED = {"function": "withdraw", "ids": ["e1", "e2"]}
HANDLED = {
    "function": "withdraw", "sources": ["/s", "/s"], "ids": ["e1", "e2"], "subjects": ["o1", "o1"],
    "replies": ["{}", None],
}  # fmt: skip
ROW = {"id": "e1", "event": "{}", "traceparent": None, "tracestate": None}


@pytest.fixture
def with_inbox(tmp_path: Path) -> Path:
    """The tables as they were while steps had an inbox."""
    root = tmp_path / "functions"
    shutil.copytree(FUNCTIONS, root, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "shared/tables/002_no_inbox.sql").unlink()
    (root / "order/tables/003_outbox_names_orders.sql").unlink()
    return root


@pytest.mark.parametrize("owner", [owner for owner in owners() if owner not in ("auth", "ops")])
def test_functions_with_an_inbox_go_on_while_it_is_taken_away(url: str, with_inbox: Path, owner: str):
    migrate(url, PASSWORDS, with_inbox)
    with connected(as_role(url, owner)) as function:
        find, remember, forget = (function.prepare(sql) for sql in (FIND, REMEMBER, FORGET))
        remember.run(**HANDLED)
        assert len(find.run(**ASKED)) == 2
        migrate(url, PASSWORDS, FUNCTIONS)
        assert find.run(**ASKED) == []
        remember.run(**HANDLED)
        remember.run(**HANDLED)
        forget.run(subjects=["o1"])
        assert find.run(**ASKED) == []


def test_functions_with_an_inbox_that_connect_anew_find_an_empty_one(url: str):
    migrate(url, PASSWORDS, FUNCTIONS)
    with connected(as_role(url, "billing")) as function:
        function.run(REMEMBER, **HANDLED)
        function.run(FORGET, subjects=["o1"])
        assert function.run(FIND, **ASKED) == []


def test_functions_that_write_whole_events_go_on_while_the_outbox_learns_of_orders(url: str, with_inbox: Path):
    migrate(url, PASSWORDS, with_inbox)
    with connected(as_role(url, "order")) as function:
        put, waits = function.prepare(PUT), function.prepare(WAITS)
        put.run(**ROW)
        migrate(url, PASSWORDS, FUNCTIONS)
        put.run(**ROW)
        put.run(**ROW | {"id": "e2"})
        assert [row[:2] for row in waits.run()] == [["e1", "{}"], ["e2", "{}"]]


@pytest.mark.parametrize(("event", "order"), [("'{}'", "'o1'"), ("NULL", "NULL")])
def test_an_outbox_row_has_its_event_or_its_order(url: str, event: str, order: str):
    migrate(url, PASSWORDS, FUNCTIONS)
    statement = f"INSERT INTO outbox (id, type, event, order_id) VALUES ('1', 't', {event}, {order})"
    assert refusal(as_role(url, "order"), statement) == "23514"


WAITING = "SELECT xact_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def test_busy_table_is_tried_again_and_not_waited_for(url: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tools.migrate.LOCK_TIMEOUT", "200ms")
    migrate(url, PASSWORDS, root)
    write(root, "order/tables/002_more.sql", "ALTER TABLE orders ADD note text;")
    with connected(url) as busy, connected(url) as watch, ThreadPoolExecutor(1) as pool:
        busy.run('BEGIN; LOCK TABLE "order".orders')
        migration = pool.submit(migrate, url, PASSWORDS, root)
        tries: set[str] = set()
        assert wait_until(lambda: tries.update(map(str, watch.run(WAITING))) or len(tries) > 1, 10)
        busy.run("COMMIT")
        assert migration.result(timeout=30) == ["order: order/002_more.sql"]
