"""A database with a million orders, and the statements that are counted in it."""

from collections.abc import Callable

from tools.bench import measure, million, round_trips, session, statements
from tools.migrate import connected


def test_filled_tables_pass_the_audit_and_are_emptied_again(database: str):
    with connected(database) as connection:
        for count in (300, 500, 500, 200):
            million.fill(connection, count)
            assert (count, []) == (million.filled(connection), measure.audited(connection))
        million.remove(connection)

        assert (0, []) == (million.filled(connection), measure.audited(connection))
        assert [[0]] == connection.run("SELECT count(*) FROM billing.movements")
        assert [[5]] == connection.run("SELECT count(*) FROM store.dishes")


def test_a_column_that_a_table_does_not_have_is_not_filled():
    sql = million.insert("pay.payments", {"order_id": "n", "gone": "0"}, {"order_id", "amount"})

    assert sql.startswith("INSERT INTO pay.payments (order_id) SELECT n FROM")


def test_round_trips_are_counted_where_they_arrive(database: str):
    with connected(database) as connection:
        port = connection.run(session.PORT)[0][0]
        statement = connection.prepare("SELECT CAST(:n AS integer)")
        statement.run(n=0)
        before = round_trips.counts(database)
        for n in range(10):
            statement.run(n=n)
        after = round_trips.counts(database)

    assert 10 == round_trips.round_trips(before, after, set())
    assert 0 == round_trips.round_trips(before, after, {port})


def test_statements_are_counted_by_owner_and_not_our_own(database: str, function_environment: Callable):
    owner = function_environment("billing")["DATABASE_URL"].rpartition("/")[0] + "/" + database.rpartition("/")[2]
    with connected(database) as admin, connected(owner) as billing:
        assert statements.count_statements(admin)
        before = statements.counts(admin, True)
        for _ in range(20):
            billing.run("SELECT count(*) FROM charges")
        after = statements.counts(admin, True)

    measurements = statements.measurements(before, after, orders=10)
    assert (2, 2) == (measurements["sql.statements"], measurements["sql.statements.billing"])
    assert "SELECT count(*) FROM charges" == statements.most_expensive(before, after, 10)[0]["sql"]


def test_a_server_that_counts_no_statements_still_counts_commits():
    before, after = (statements.Counts(writing, writing * 2, 0, None) for writing in (10, 20))

    measurements = statements.measurements(before, after, orders=10, own=5)

    expected = {"sql.statements": None, "sql.writing_transactions": 1, "sql.commits": 1.5, "sql.wal_bytes": 0}
    assert expected == measurements
