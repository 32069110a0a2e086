"""What tests of the steps stand on; the rest of it is in deciding.py."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from functions.shared.pipeline import PipelinedConnection
from tests.fakes import FakeFunction
from tests.shared.deciding import DECISION, HOLD, LOCKING, TABLES, Bench, Counter, Kept
from tests.system import Rows


@pytest.fixture(scope="module")
def held(admin: Rows) -> Iterator[Kept]:
    """The module's database, with the triggers that wait for the test."""
    kept = Kept(admin.url)
    kept.rows(HOLD)
    for table in TABLES:
        owner, name = table.split(".")
        kept.rows(
            f'CREATE TRIGGER hold AFTER INSERT OR UPDATE ON "{owner}".{name} FOR EACH ROW'
            " WHEN (NEW.order_id LIKE 'held%') EXECUTE FUNCTION public.hold()"
        )
    kept.rows(
        'CREATE TRIGGER hold_message AFTER INSERT ON "order".orders FOR EACH ROW'
        " WHEN (NEW.msg_id LIKE 'held-%') EXECUTE FUNCTION public.hold()"
    )
    yield kept
    kept.connection.close()


@pytest.fixture
def bench(held: Kept, become: Callable, broker: FakeFunction) -> Bench:
    """With a broker that is away, so that what a step wants to have sent stays where it can be seen."""
    broker.behave = lambda _: (503, {}, b"")
    return Bench(held, become)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every trip to PostgreSQL, with the statements that went together."""
    found, execute = [], PipelinedConnection.execute

    def counted(connection: PipelinedConnection, executions: Sequence[Any]) -> list[Any]:
        texts = [statement.statement for statement, _ in executions]
        found.append([text if text in ("BEGIN", "COMMIT", "ROLLBACK") else _kind(text) for text in texts])
        return execute(connection, executions)

    monkeypatch.setattr(PipelinedConnection, "execute", counted)
    return found


def _kind(text: str) -> str:
    locks = "FOR NO KEY UPDATE" in text or "pg_advisory_xact_lock" in text
    return LOCKING if locks and text.strip().startswith("SELECT") else DECISION


@pytest.fixture
def counter(bench, settings, secrets, signed) -> Counter:
    bench.afresh("order.newOrder")
    settings(JWT_PUBLIC_KEY_FILE=str(secrets / "jwt-public.pem"))
    return Counter(bench, signed(user_name="user1"))
