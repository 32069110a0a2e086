"""The servers start once for all tests; a test that needs a database to itself gets a clone of a migrated one."""

import itertools
import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import functions_framework
import jwt
import pytest
from Cryptodome.PublicKey import RSA

from functions.auth import tokens
from functions.order import outbox
from functions.order.sender import Sender
from functions.shared import bearer, call, installation, revocations
from functions.shared import database as connections
from functions.shared.rs256 import key_of
from functions.shared.settings import read
from functions.shared.telemetry.logs import JsonLine, log
from tests.fakes import FakeFunction
from tests.system import TOKEN, Http, Rows, System, install_tests
from tools.install import owners
from tools.local.postgres import Postgres
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from tools.migrate import migrate
from tools.role_url import role_url
from triggers.stack import load

API = "/ui-api-service/api/v1"

# Two processes run the tests, each with a system of its own: their servers must not meet on a port.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    first = 15_000 + 2_500 * (int(worker.removeprefix("gw")) % 4)
    os.environ["FREE_PORTS"] = f"{first}-{first + 2_499}"
TEMPLATE = "food_template"
# Functions in the tests' own process belong to the tests' installation.
os.environ["INSTALLATION_TOKEN"] = TOKEN
# There auth is nobody's neighbour; the running system looks often.
os.environ["AUTH_REVOCATION_SECONDS"] = "off"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Crash stories go first: a killed process takes its coverage with it, and there is little to lose yet."""
    items.sort(key=lambda item: "test_crashes" not in item.nodeid)


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A directory that PostgreSQL's own user can reach, which pytest's is not."""
    made = Path(tempfile.mkdtemp(prefix="food-tests-"))
    made.chmod(0o755)
    yield made
    if not os.environ.get("KEEP_TEST_LOGS"):
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(directory: Path) -> Iterator[Postgres]:
    """A PostgreSQL of the tests' own."""
    server = Postgres(directory / "postgres", free_port(), fast=True)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def rabbitmq(directory: Path) -> Iterator[RabbitMQ]:
    """A RabbitMQ of the tests' own."""
    server = RabbitMQ(directory / "rabbitmq", free_port())
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def secrets(directory: Path) -> Path:
    """Keys and passwords, made as at an installation."""
    return install_tests(directory / "system" / "secrets")


@pytest.fixture(scope="session")
def template(postgres: Postgres, secrets: Path) -> str:
    """A migrated database that nobody uses, to be cloned."""
    Rows(postgres.url()).rows(f"CREATE DATABASE {TEMPLATE}")
    admin_password = (secrets / "admin-password").read_text().strip()
    migrate(postgres.url(TEMPLATE), json.loads((secrets / "roles.json").read_text()), admin_password=admin_password)
    return TEMPLATE


@pytest.fixture(scope="session")
def fresh_database(postgres: Postgres, template: str) -> Callable[[], str]:
    """Make a migrated database with nothing but the starting data; gives the administrator's address of it."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"food_{next(numbers)}"
        Rows(postgres.url()).rows(f"CREATE DATABASE {name} TEMPLATE {template}")
        # Grants on a database are not cloned with it.
        roles = ", ".join(f'"{owner}"' for owner in owners())
        Rows(postgres.url()).rows(f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC")
        Rows(postgres.url()).rows(f"GRANT CONNECT ON DATABASE {name} TO {roles}")
        return postgres.url(name)

    return make


@pytest.fixture(scope="session")
def system(directory: Path, postgres: Postgres, rabbitmq: RabbitMQ, fresh_database: Callable) -> Iterator[System]:
    """Everything, running."""
    running = System(directory / "system", postgres, rabbitmq, fresh_database())
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def gateway(system: System) -> Http:
    """The public host."""
    return system.gateway


@pytest.fixture(scope="session")
def database(system: System) -> Callable[[str], Rows]:
    """SQL as the administrator, whichever owner's tables are asked for: their names carry the schema."""
    return lambda _owner: system.sql


@dataclass(frozen=True)
class User:
    """A registered client."""

    username: str
    password: str
    email: str
    token: str


def registered(gateway: Http, balance: object = None) -> User:
    """Register a client, log in, and add money if asked to."""
    name = "u" + uuid.uuid4().hex[:20]
    facts = {
        "username": name, "password": "secret-1", "firstName": "Анна", "middleName": "Петровна",
        "lastName": "Иванова", "email": f"{name}@mail.ru", "mobilePhone": "+" + str(uuid.uuid4().int)[:20],
    }  # fmt: skip
    assert gateway.post(f"{API}/auth/registration", json=facts).json == {"status": "OK", "error": ""}
    token = gateway.post(f"{API}/auth/token", json=facts).json["access_token"]
    if balance is not None:
        body = {"username": name, "amount": str(balance)}
        assert gateway.post(f"{API}/external/user/balance/add", json=body, token=token).json["status"] == "OK"
    return User(name, "secret-1", facts["email"], token)


@pytest.fixture(scope="session")
def new_user(gateway: Http) -> Callable[..., User]:
    """Make a client, with money if asked for."""
    return partial(registered, gateway)


@pytest.fixture(scope="session")
def admin_token(gateway: Http, secrets: Path) -> str:
    """A token of the administrator made at the installation."""
    body = {"username": "admin", "password": (secrets / "admin-password").read_text().strip()}
    return gateway.post(f"{API}/auth/token", json=body).json["access_token"]


@pytest.fixture(scope="session")
def oauth_client(secrets: Path) -> tuple[str, str]:
    """Id and secret of the OAuth client."""
    return "USER_CLIENT_APP", (secrets / "oauth-client-secret").read_text().strip()


@pytest.fixture(scope="session")
def private_key(secrets: Path) -> str:
    """The key that tokens are signed with."""
    return (secrets / "jwt-private.pem").read_text()


@pytest.fixture(scope="session")
def function_environment(system: System) -> Callable[[str], dict[str, str]]:
    """What an owner's functions are started with."""
    return system.plan.environment.of_functions


def audit(system: System) -> None:
    """Nothing may contradict what must always hold, in the whole database."""
    from tools.audit import findings

    connection = system.sql.connected()
    try:
        assert findings(connection) == []
    finally:
        connection.close()


@pytest.fixture
def audited(system: System) -> Iterator[None]:
    """The audit after the test."""
    yield
    audit(system)


@pytest.fixture
def started_alone(function_environment: Callable, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Start one function of an owner by itself, in an environment that a test may change; gives Flask's client."""

    def start(owner: str, name: str, **environment: str) -> object:
        for variable, value in (function_environment(owner) | environment).items():
            monkeypatch.setenv(variable, value)
        _forget_what_was_read()
        source = Path(__file__).parent.parent / "functions" / owner / f"{name}.py"
        client = functions_framework.create_app(name, str(source)).test_client()
        if next(one for one in load() if one.source == f"functions/{owner}/{name}.py").is_public:
            return client
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
        return client

    yield start
    monkeypatch.undo()
    _forget_what_was_read()


def _forget_what_was_read() -> None:
    """Settings and what was made of them, and connections: another owner has another role."""
    for cached in (read, bearer.public_keys, call._listed, tokens._signing_key):
        cached.cache_clear()
    installation.token.forget()
    revocations.revocations = bearer.revocations = revocations.Revocations()
    connections.pool.close()


@pytest.fixture(scope="session")
def foreign_key() -> RSA.RsaKey:
    """A private key that is not ours."""
    return RSA.generate(2048)


@pytest.fixture(scope="session")
def signed(private_key: str) -> Callable[..., str]:
    """Sign claims as auth does; what is not said is good."""
    public = key_of(private_key).public_key()

    def sign(key: object = private_key, **changes: object) -> str:
        now = int(time.time())
        claims = {
            "user_name": "somebody", "scope": ["read", "write"], "exp": now + 60,
            "authorities": ["ROLE_USER", "ROLE_ADMIN"], "jti": str(uuid.uuid4()), "email": "somebody@mail.ru",
            "client_id": "USER_CLIENT_APP", "iat": now,
        }  # fmt: skip
        return jwt.encode(claims | changes, key, "RS256", headers={"kid": bearer.key_id(public)})

    return sign


@pytest.fixture
def restocked(system: System) -> None:
    """Enough of every dish on the starting menu, whatever the tests before have eaten."""
    system.sql.rows(
        "UPDATE store.dishes SET opening_stock = opening_stock + 10, in_stock = in_stock + 10 WHERE id <= 5"
    )


# Functions in the test's own process


@pytest.fixture(scope="module")
def admin(fresh_database: Callable[[], str]) -> Rows:
    """SQL as the administrator, in a database of the module's own."""
    return Rows(fresh_database())


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set variables, as if the process had been started with them."""

    def change(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        _forget_what_was_read()

    yield change
    monkeypatch.undo()
    _forget_what_was_read()


@pytest.fixture
def become(admin: Rows, settings: Callable, secrets: Path) -> Callable[[str], None]:
    """Connect as an owner's role from now on."""
    passwords = json.loads((secrets / "roles.json").read_text())
    return lambda owner: settings(DATABASE_URL=role_url(admin.url, owner, passwords[owner]))


@pytest.fixture
def billing(become: Callable, admin: Rows) -> Rows:
    """Billing's database, with a rich client."""
    become("billing")
    admin.rows(
        "INSERT INTO billing.clients (username, opening, balance) VALUES ('user1', 1000, 1000) "
        "ON CONFLICT (username) DO UPDATE SET balance = 1000"
    )
    return admin


@pytest.fixture
def broker(
    become: Callable, settings: Callable, admin: Rows, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeFunction]:
    """A broker that takes everything, and the order's empty outbox with a sender of its own."""
    become("order")
    fake = FakeFunction(lambda _: (202, {}, b""))
    settings(BROKER_URL=fake.url)
    sender = Sender(outbox._send_now, outbox._cross_out, catch_up=lambda: outbox.flush(age=0))
    monkeypatch.setattr(outbox, "_sender", sender)
    monkeypatch.setattr(outbox.broker._Known, "takes_batches", True)
    admin.rows('DELETE FROM "order".outbox')
    yield fake.start()
    fake.stop()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    found: list[str] = []
    log("ready", level=logging.DEBUG)
    handler = logging.Handler()
    handler.emit = lambda record: found.append(JsonLine().format(record))
    logging.getLogger("food").addHandler(handler)
    yield found
    logging.getLogger("food").removeHandler(handler)
