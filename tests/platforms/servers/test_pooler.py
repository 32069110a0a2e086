"""Functions' connections through PgBouncer, which lends one of few for each transaction."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.shared.database import BEGIN, Conflict, Connection
from tests.platforms.servers.newer import POOL_SIZE
from tools.role_url import role_url


@pytest.fixture(scope="module")
def url(migrated, pooler, secrets) -> str:
    """The store's address, by the pooler; its role may have no more connections than the pooler opens for it."""
    import json

    passwords = json.loads((secrets / "roles.json").read_text())
    return role_url(pooler.url(migrated(role_connections=POOL_SIZE)), "store", passwords["store"])


def test_the_majors_are_those_of_the_manifests(url, newer_postgres):
    (row,) = Connection(url).rows("SELECT current_setting('server_version_num')::int / 10000 AS major")

    assert newer_postgres.directory.name == f"postgres-{row.major}"


def test_many_more_connections_than_the_pooler_opens_work_on_prepared_statements(url):
    connections = [Connection(url) for _ in range(10 * POOL_SIZE)]

    def ask(database: Connection) -> list[int]:
        return [database.row(f"SELECT :n + {n % 3} AS sum", n=n).sum for n in range(30)]

    with ThreadPoolExecutor(len(connections)) as pool:
        answers = list(pool.map(ask, connections))
    assert answers == [[n + n % 3 for n in range(30)]] * len(connections)
    (row,) = connections[0].rows("SELECT count(*) AS open FROM pg_stat_activity WHERE usename = 'store'")
    assert row.open <= POOL_SIZE


def test_several_statements_in_one_trip_are_one_transaction(url):
    here, elsewhere = Connection(url), Connection(url)
    before = here.row("SELECT in_stock FROM dishes WHERE id = 1").in_stock
    take = "UPDATE dishes SET in_stock = in_stock - :n WHERE id = 1 RETURNING in_stock"

    here.together([BEGIN, (take, {"n": 1})])
    assert before == elsewhere.row("SELECT in_stock FROM dishes WHERE id = 1").in_stock
    here.end("ROLLBACK")

    assert before == here.row("SELECT in_stock FROM dishes WHERE id = 1").in_stock


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("search_path", "store"),
    ],
)
def test_what_a_session_would_say_the_role_says(url, setting, value):
    assert value == Connection(url).row("SELECT current_setting(:name) AS value", name=setting).value


def test_a_lock_is_not_waited_for_longer_than_the_role_says(url):
    holder, other = Connection(url), Connection(url)
    holder.together([BEGIN, ("SELECT id FROM dishes WHERE id = 1 FOR UPDATE", {})])

    with pytest.raises(Conflict, match="lock timeout"):
        other.rows("SELECT id FROM dishes WHERE id = 1 FOR UPDATE")
    holder.end("ROLLBACK")
