"""Somebody pulls a plug while twenty orders are on their way: each of them ends, once."""

import signal
from collections.abc import Callable

import pytest

from tests.stories.conftest import Stage
from tests.system import eventually

ORDERS = 20


def kill(stage: Stage, process: str) -> None:
    stage.system.process(process).signal(signal.SIGKILL)
    eventually(lambda: not stage.system.process(process).runs, f"{process} to be gone")
    stage.system.start_process(process)


def restart_postgres(stage: Stage) -> None:
    stage.system.postgres.restart()


def restart_rabbitmq(stage: Stage) -> None:
    stage.system.rabbitmq.restart()
    # Until then orders wait in the outbox for the scheduled flush, which here nobody calls for the next story.
    eventually(lambda: stage.system.broker.get("/health").status == 200, "the ingress to be back")


PLUGS: dict[str, Callable[[Stage], None]] = {
    "the dispatcher is killed": lambda stage: kill(stage, "dispatcher"),
    "the ingress is killed": lambda stage: kill(stage, "ingress"),
    "the functions of billing are killed": lambda stage: kill(stage, "billing"),
    "the functions of order are killed": lambda stage: kill(stage, "order"),
    "PostgreSQL is restarted": restart_postgres,
    "RabbitMQ is restarted": restart_rabbitmq,
}


@pytest.mark.parametrize("plug", PLUGS.values(), ids=PLUGS)
def test_every_order_ends_once_although(stage: Stage, plug: Callable[[Stage], None]):
    guest, dish = stage.new_user(10_000), stage.dish(stock=ORDERS)
    orders = stage.orders_at_once(guest, [stage.body(guest, dish) for _ in range(ORDERS)])
    stage.settled(orders[0])
    plug(stage)
    # What a killed process had not sent yet is sent by the scheduled flush.
    eventually(lambda: stage.system.function("order-flush").post().status == 200, "the flush to work again")

    statuses = stage.settled(*orders, seconds=90)
    assert (statuses.count("Completed"), statuses.count("Canceled")) == (ORDERS // 2, ORDERS // 2)
    assert stage.stock(dish) == 0
    assert stage.balance(guest) == f"{10_000 - 25.5 * ORDERS / 2:.2f}"
    assert len(stage.mails(guest)) == ORDERS
