"""Somebody pulls a plug while forty orders are on their way: each of them ends, once."""

import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pg8000.native
import pytest
import urllib3

from tests.conftest import API, User
from tests.stories.conftest import Stage
from tests.system import eventually

ORDERS = 40


def kill(stage: Stage, process: str) -> None:
    stage.system.process(process).signal(signal.SIGKILL)
    eventually(lambda: not stage.system.process(process).runs, f"{process} to be gone")
    stage.system.start_process(process)


def restart_postgres(stage: Stage) -> None:
    stage.system.postgres.restart()


def restart_rabbitmq(stage: Stage) -> None:
    stage.system.rabbitmq.restart()
    # Until then orders wait in the outbox for the scheduled flush, which here nobody calls for the next story.
    eventually(lambda: stage.system.broker.get("/health").status == 200, "the broker to be back")


PLUGS: dict[str, Callable[[Stage], None]] = {
    "the broker is killed": lambda stage: kill(stage, "broker"),
    "the functions of billing are killed": lambda stage: kill(stage, "billing"),
    "the functions of order are killed": lambda stage: kill(stage, "order"),
    "PostgreSQL is restarted": restart_postgres,
    "RabbitMQ is restarted": restart_rabbitmq,
}


@pytest.mark.parametrize("plug", PLUGS.values(), ids=PLUGS)
def test_every_order_ends_once_although(stage: Stage, plug: Callable[[Stage], None]):
    # What a killed process had not sent yet is sent by the scheduled flush.
    forty_orders_end_once(stage, plug, lambda: flushed(stage))


def forty_orders_end_once(stage: Stage, plug: Callable[[Stage], None], heals: Callable[[], bool]) -> None:
    """Pull the plug when orders end and others just come in; then let cron work until it `heals`."""
    guest, dish = stage.new_user(10_000), stage.dish(stock=ORDERS)
    with ThreadPoolExecutor(max_workers=3) as clients:

        def some() -> list[Future[str]]:
            bodies = [stage.body(guest, dish) for _ in range(ORDERS // 2)]
            return [clients.submit(insist, stage, guest, body) for body in bodies]

        sent = some()
        eventually(lambda: ended(stage, guest) > 0, "the first order to end")
        sent += some()
        while ended(stage, guest) == len(sent):
            # Asked too late: nothing is in flight any more.
            sent += some()
        plug(stage)
        orders = [order.result() for order in sent]
    eventually(heals, "what cron calls to heal it", 90, every=0.2)

    statuses = stage.settled(*orders, seconds=90)
    assert (statuses.count("Completed"), statuses.count("Canceled")) == (ORDERS // 2, len(orders) - ORDERS // 2)
    assert stage.stock(dish) == 0
    assert stage.balance(guest) == f"{10_000 - 25.5 * ORDERS / 2:.2f}"
    assert len(stage.mails(guest)) == len(orders)


def insist(stage: Stage, guest: User, body: dict[str, Any]) -> str:
    """Send an order as a patient client does: the same one, until it is answered."""

    def answered() -> str | None:
        with suppress(urllib3.exceptions.HTTPError, ValueError):
            answer = stage.system.gateway.post(f"{API}/external/order", json=body, token=guest.token)
            return answer.json.get("orderId")
        return None

    return eventually(answered, "the order to be accepted")


def ended(stage: Stage, guest: User) -> int:
    """How many of the guest's orders are over."""
    count = 'SELECT count(*) FROM "order".orders WHERE username = :name AND ended_at IS NOT NULL'
    with suppress(pg8000.native.Error, OSError):
        return stage.system.sql.value(count, name=guest.username)
    return 0


def flushed(stage: Stage) -> bool:
    """Whether the scheduled flush, called now, leaves nothing behind."""
    with suppress(urllib3.exceptions.HTTPError, pg8000.native.Error, OSError):
        stage.system.function("order-flush").post()
        return not stage.system.sql.value('SELECT count(*) FROM "order".outbox')
    return False
