"""Nobody comes at what is somebody else's: by a method of the API, by a path of the gateway, by SQL."""

import json
import socket
from urllib.parse import urlsplit

import pg8000.native
import pytest

from tests.clients import order_of
from tests.security.methods import Method, methods
from tests.system import Rows
from tools.install import owners
from tools.role_url import role_url
from triggers.stack import Function, load

# What names nobody: it is everybody's.
EVERYBODYS = {"/ui-api-service/api/v1/external/menu", "/ui-api-service/api/v1/external/delivery/slots"}


@pytest.fixture(scope="module")
def victim(new_user, gateway):
    """Somebody with money and an order."""
    user = new_user(1000)
    answer = gateway.post("/ui-api-service/api/v1/external/order", json=order_of(user), token=user.token)
    return user, answer.json["orderId"]


@pytest.fixture(scope="module")
def thief(new_user):
    """Somebody else."""
    return new_user(1000)


def everything_of(user, order_id: str) -> dict:
    """A body that fits every method: what one does not know, it ignores."""
    person = {"firstName": "T", "lastName": "T", "email": "t@mail.ru", "mobilePhone": "+1"}
    return order_of(user) | person | {"username": user.username, "orderId": order_id, "date": "01.01.2040"}


@pytest.mark.parametrize("method", methods("bearer"), ids=str)
def test_what_is_somebody_elses_is_denied_by_every_method(gateway, victim, thief, system, method: Method):
    user, order_id = victim
    body = everything_of(user, order_id)
    if method.path.endswith("order/find"):
        del body["msgId"]  # by one of the two
    before = standing(system, user)
    answer = gateway.request(method.verb, method.path, json=body, token=thief.token)

    assert answer.status == 200
    denied = answer.json.get("error") == "Access denied" or answer.json.get("errorMessage") == "Access denied"
    assert denied is (method.path not in EVERYBODYS)
    assert user.email not in answer.text
    assert standing(system, user) == before


def standing(system, user) -> list:
    """What the user has at every owner, but for what the saga of its order still changes."""
    asked = {
        "SELECT count(*) FROM billing.movements WHERE username = :name",
        'SELECT count(*) FROM "order".orders WHERE username = :name',
        "SELECT first_name || email || mobile_phone AS person FROM auth.users WHERE username = :name",
    }
    return [system.sql.value(sql, name=user.username) for sql in sorted(asked)]


@pytest.mark.parametrize("path", ["external/order/find", "external/order/list"])
def test_somebody_elses_order_is_not_found_under_ones_own_name(gateway, victim, thief, path):
    order_id = victim[1]
    body = {"userName": thief.username, "orderId": order_id}
    answer = gateway.post(f"/ui-api-service/api/v1/{path}", json=body, token=thief.token)

    assert order_id not in answer.text


# The gateway's paths

INTERNAL = [function for function in load() if not function.is_public]
PUBLIC = "/ui-api-service/api/v1/auth/token"


def ways(function: Function) -> set[str]:
    """How somebody may try to come at a function that is not public."""
    roots = {*function.paths, f"/function/{function.name}", f"/{function.name}"}
    changed = set()
    for path in roots:
        changed |= {path, path + "/", "/" + path, path.upper(), path + ";x=1", path + "?x=1", path + "%00"}
        changed |= {f"{PUBLIC}/..{path}", f"{PUBLIC}/%2e%2e{path}", f"/.{path}", path.replace("/", "%2f")}
        changed |= {f"{PUBLIC}/../../../..{path}", f"{PUBLIC}%2f..%2f..{path}", f"\\{path}"}
        changed |= {f"http://127.0.0.1:1{path}"}
    return changed


def raw_status(base: str, verb: str, path: str) -> int:
    """The status of a request whose path no client has made tidy."""
    parts = urlsplit(base)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        request = f"{verb} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{request}Connection: close\r\n\r\n{{}}".encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("function", INTERNAL, ids=lambda one: one.name)
def test_no_path_of_the_gateway_leads_to_what_is_internal(gateway, function: Function):
    found = {path: raw_status(gateway.base, function.method or "POST", path) for path in ways(function)}

    assert {path: status for path, status in found.items() if status not in (400, 404, 405)} == {}


@pytest.mark.parametrize("path", ["/_/metrics", "/function/order-metrics/_/metrics", "/internal/metrics"])
def test_metrics_are_not_for_everybody(gateway, path):
    assert gateway.get(path).status == 404


# The roles of SQL

PASSWORDS = "roles.json"
DENIED = {"42501"}  # insufficient_privilege


@pytest.fixture(scope="module")
def roles(fresh_database, secrets):
    """A connection as each owner's role, to one database."""
    url = fresh_database()
    passwords = json.loads((secrets / PASSWORDS).read_text())
    opened = {owner: Rows(role_url(url, owner, passwords[owner])) for owner in owners()}
    connected = {owner: rows.connected() for owner, rows in opened.items()}
    yield Rows(url), connected
    for connection in connected.values():
        connection.close()


def code_of(connection: pg8000.native.Connection, sql: str) -> str:
    """How PostgreSQL refuses a statement; none of these may work."""
    connection.run("BEGIN")
    try:
        connection.run(sql)
    except pg8000.native.DatabaseError as problem:
        return problem.args[0]["C"]
    finally:
        connection.run("ROLLBACK")
    return "done"


def tables(admin: Rows) -> list[tuple[str, str]]:
    asked = """SELECT table_schema, table_name FROM information_schema.tables
                WHERE table_schema = ANY(:owners) AND table_type = 'BASE TABLE'"""
    return [(row.table_schema, row.table_name) for row in admin.rows(asked, owners=owners())]


@pytest.mark.parametrize("owner", owners())
def test_a_role_neither_reads_nor_changes_what_is_another_owners(roles, owner):
    admin, connections = roles
    others = [f'"{schema}"."{name}"' for schema, name in tables(admin) if schema != owner]
    statements = ("SELECT * FROM {}", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES", "TRUNCATE {}")

    assert len(others) > 10
    asked = [sql.format(table) for table in others for sql in statements]
    found = {sql: code_of(connections[owner], sql) for sql in asked}
    assert {sql: code for sql, code in found.items() if code not in DENIED} == {}


@pytest.mark.parametrize("owner", owners())
def test_a_role_changes_no_table_no_rule_and_no_right(roles, owner):
    admin, connections = roles
    mine = [f'"{schema}"."{name}"' for schema, name in tables(admin) if schema == owner]
    statements = [
        *(f"DROP TABLE {table}" for table in mine),
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in mine),
        *(f"ALTER TABLE {table} ADD COLUMN x integer" for table in mine),
        *(f"TRUNCATE {table}" for table in mine),
        f'CREATE TABLE "{owner}".x (id integer)',
        "CREATE TABLE public.x (id integer)",
        "CREATE SCHEMA x",
        "CREATE ROLE x",
        "CREATE TEMPORARY TABLE x (id integer)",
        f'ALTER ROLE "{owner}" SUPERUSER',
        f'SET SESSION AUTHORIZATION "{urlsplit(admin.url).username}"',
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_reload_conf()",
        "SET ROLE " + next(f'"{other}"' for other in owners() if other != owner),
    ]
    found = {sql: code_of(connections[owner], sql) for sql in statements}

    assert {sql: code for sql, code in found.items() if code not in DENIED} == {}
