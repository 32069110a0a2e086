"""Many ended orders in all tables, made by SQL: is the system as fast with them as without?

They are completed orders of guests of their own, on days of their own, and all that the owners keep of them, so that
the audit holds. Columns that a table does not have (any more) are left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pg8000.native import Connection, DatabaseError

GUEST = "filled-"
GUESTS = 1000
DISH = 2_000_000
DISHES = 100
MADE_AT = "now() - interval '1 day'"
ORDER_ID = "CAST(CAST(md5('filled ' || n) AS uuid) AS text)"
USERNAME = f"'{GUEST}' || n % {GUESTS}"
TEXT = "'Заказ успешно создан'"
# An hour has as many orders as there are couriers.
DAY = "DATE '2200-01-01' + n / (24 * couriers)"
HOUR = "n / couriers % 24"
REQUEST = f"""
    format('{{"msgId": "%s", "amount": 1.00, "discount": 0.00, "quantity": 1, "userName": "%s",
             "dishs": [{{"menuId": %s, "count": 1}}], "deliveryDate": "%s", "deliveryHour": %s}}',
           n, {USERNAME}, {DISH} + n % {DISHES}, to_char({DAY}, 'DD.MM.YYYY'), {HOUR})
"""

# What each table gets of order number n, in the order in which tables refer to each other.
ROWS = {
    '"order".orders': {
        "order_id": ORDER_ID, "msg_id": "CAST(n AS text)", "username": USERNAME, "email": "'filled@example.org'",
        "request": REQUEST, "amount": "1.00", "status": "'Completed'", "pay_status": "'Ok'", "store_status": "'Ok'",
        "delivery_status": "'Ok'", "reason": TEXT, "accepted_at": MADE_AT, "created_at": MADE_AT,
        "ended_at": MADE_AT, "notified_at": MADE_AT, "redrive_at": MADE_AT, "purged_at": MADE_AT,
    },
    "billing.charges": {
        "order_id": ORDER_ID, "username": USERNAME, "amount": "1.00", "status": "'Ok'", "decided_at": MADE_AT,
    },
    "billing.movements": {
        "username": USERNAME, "kind": "'sale'", "amount": "1.00", "order_id": ORDER_ID, "moved_at": MADE_AT,
    },
    "pay.payments": {
        "order_id": ORDER_ID, "type": "'SALE'", "username": USERNAME, "amount": "1.00", "created_at": MADE_AT,
    },
    "store.reservations": {"order_id": ORDER_ID, "status": "'Ok'", "decided_at": MADE_AT},
    "store.bookings": {"order_id": ORDER_ID, "dish_id": f"{DISH} + n % {DISHES}", "count": "1", "price": "1.00"},
    "delivery.bookings": {
        "order_id": ORDER_ID, "delivery_date": DAY, "delivery_hour": HOUR, "status": "'Ok'", "decided_at": MADE_AT,
        "courier_id": "ids[1 + n % couriers]",
    },
    "notification.emails": {
        "order_id": ORDER_ID, "username": USERNAME, "email": "'filled@example.org'", "message": TEXT,
        "delivered_at": MADE_AT,
    },
}  # fmt: skip

NUMBERS = "generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n"
STAFF = """
    (SELECT array_agg(id ORDER BY id) AS ids, CAST(count(*) AS integer) AS couriers FROM delivery.couriers) AS staff
"""

FILLED = f"""SELECT count(*) FROM "order".orders WHERE username LIKE '{GUEST}%'"""

GUESTS_AND_DISHES = (
    f"""
    INSERT INTO billing.clients (username, opening, balance)
    SELECT '{GUEST}' || n, 1000000, 1000000 FROM generate_series(0, {GUESTS - 1}) AS n ON CONFLICT DO NOTHING
    """,
    f"""
    INSERT INTO store.dishes (id, name, weight_grams, price, opening_stock, in_stock)
    SELECT {DISH} + n, 'filled', 100, 1.00, 1000000, 1000000 FROM generate_series(0, {DISHES - 1}) AS n
    ON CONFLICT DO NOTHING
    """,
)

PAID_AND_EATEN = (
    f"""
    UPDATE billing.clients c SET balance = balance - paid.amount
      FROM (SELECT {USERNAME} AS username, count(*) AS amount FROM {NUMBERS} GROUP BY 1) AS paid
     WHERE c.username = paid.username
    """,
    f"""
    UPDATE store.dishes d SET in_stock = in_stock - eaten.count
      FROM (SELECT {DISH} + n % {DISHES} AS id, count(*) AS count FROM {NUMBERS} GROUP BY 1) AS eaten
     WHERE d.id = eaten.id
    """,
)

COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = :schema AND table_name = :name"


def filled(connection: Connection) -> int:
    """How many orders there are that were made here."""
    return connection.run(FILLED)[0][0]


def fill(connection: Connection, count: int) -> None:
    """Have so many of them: what is missing is made, and more than that is taken away first."""
    if filled(connection) > count:
        remove(connection)
    missing = {"first": filled(connection), "last": count - 1}
    if missing["first"] == count:
        return
    with _transaction(connection):
        for sql in GUESTS_AND_DISHES:
            connection.run(sql)
        for table, row in ROWS.items():
            connection.run(insert(table, row, _columns(connection, table)), **missing)
        for sql in PAID_AND_EATEN:
            connection.run(sql, **missing)
    _tidy(connection, "VACUUM (ANALYZE)")


def insert(table: str, row: dict[str, str], columns: set[str]) -> str:
    """The statement that makes a table's rows."""
    kept = {column: value for column, value in row.items() if column in columns}
    return f"INSERT INTO {table} ({', '.join(kept)}) SELECT {', '.join(kept.values())} FROM {STAFF}, {NUMBERS}"


def remove(connection: Connection) -> None:
    """Take all of them away, and the space that they took."""
    numbers = {"first": 0, "last": filled(connection) - 1}
    with _transaction(connection):
        for table in reversed(ROWS):
            connection.run(f"DELETE FROM {table} WHERE order_id IN (SELECT {ORDER_ID} FROM {NUMBERS})", **numbers)
        connection.run(f"DELETE FROM billing.clients WHERE username LIKE '{GUEST}%'")
        connection.run(f"DELETE FROM store.dishes WHERE id BETWEEN {DISH} AND {DISH + DISHES - 1}")
    _tidy(connection, "VACUUM (FULL, ANALYZE)")


def _tidy(connection: Connection, how: str) -> None:
    """Leave nothing to be done that would be in the way of a measurement later."""
    for table in (*ROWS, "billing.clients", "store.dishes"):
        connection.run(f"{how} {table}")
    with suppress(DatabaseError):  # not everybody may
        connection.run("CHECKPOINT")


def _columns(connection: Connection, table: str) -> set[str]:
    schema, name = table.replace('"', "").split(".")
    return {column for (column,) in connection.run(COLUMNS, schema=schema, name=name)}


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    connection.run("BEGIN")
    try:
        yield
        connection.run("COMMIT")
    except BaseException:
        connection.run("ROLLBACK")
        raise
