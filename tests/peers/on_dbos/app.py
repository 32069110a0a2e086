"""The saga as a DBOS workflow behind FastAPI, as DBOS' documentation teaches it; one process.

STEPS=transactions: each step is a transaction of a datasource, which is the documentation's advice for steps that
write to a database: the step's rows and a record of its result are one commit. They run at READ COMMITTED, as ours
do; at DBOS' own SERIALIZABLE two orders for one dish would fail and try again.

STEPS=plain: each is an ordinary step, which may run twice after a crash. Our statements stand that, and it is faster.
"""

import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import uvicorn
from dbos import DBOS, DBOSConfig, SQLAlchemyDatasource
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from sqlalchemy import TextClause, text

from tools import bench_chain as chain
from tools.bench_chain import Asked, Order

DATABASE_URL, PORT = os.environ["DATABASE_URL"], int(os.environ["PORT"])
TRANSACTIONS = os.environ.get("STEPS") == "transactions"
WORKERS = 16

app = FastAPI()
DBOS(config=DBOSConfig(
    name="orders", system_database_url=DATABASE_URL, sys_db_pool_size=WORKERS, max_executor_threads=WORKERS,
    log_level="WARNING",
))  # fmt: skip
prepared = cache(text)

if TRANSACTIONS:
    food = SQLAlchemyDatasource.create(DATABASE_URL, engine_kwargs={"pool_size": WORKERS})
else:
    pool = ConnectionPool(DATABASE_URL, min_size=WORKERS, open=True, kwargs={"autocommit": True})


def durable(function: Callable) -> Callable:
    """Make a step of `function`, of the kind that is measured."""
    return food.transaction(isolation_level="READ COMMITTED")(function) if TRANSACTIONS else DBOS.step()(function)


def run(asked: Asked) -> Any:
    """Run a step's statement; gives what it decided."""
    return _in_transaction(prepared(asked.sql), asked) if TRANSACTIONS else _alone(asked)


def _in_transaction(statement: TextClause, asked: Asked) -> Any:
    found = food.sql_session().execute(statement, asked.values)
    row = found.first() if found.returns_rows else None
    return row[0] if row else None


def _alone(asked: Asked) -> Any:
    with pool.connection() as connection:
        found = connection.execute(chain.for_psycopg(asked.sql), asked.values)
        row = found.fetchone() if found.description else None
    return row[0] if row else None


@durable
def new_order(order: Order) -> None:
    run(chain.new_order(order))


@durable
def withdraw(order: Order) -> str:
    return run(chain.withdraw(order))


@durable
def confirm_sale(order: Order) -> None:
    run(chain.confirm_sale(order))


@durable
def booking_food(order: Order) -> str:
    return run(chain.booking_food(order))


@durable
def booking_courier(order: Order) -> str:
    return run(chain.booking_courier(order))


@durable
def cancel_booking_food(order: Order) -> None:
    run(chain.cancel_booking_food(order))


@durable
def refund_payment(order: Order) -> bool:
    return run(chain.refund_payment(order)) is not None


@durable
def refund_balance(order: Order) -> None:
    run(chain.refund_balance(order))


@durable
def result(order: Order, pay: str, store: str, delivery: str) -> None:
    run(chain.result(order, pay, store, delivery))


@durable
def send_email(order: Order, message: str) -> None:
    run(chain.send_email(order.order_id, order.username, message))


@DBOS.workflow()
def place_order(body: dict[str, Any], request: str) -> str:
    """The saga. pay.sale decides nothing, so it is no step; the mail needs no outbox: DBOS resumes the workflow."""
    order = Order.of(body, request)
    store = delivery = "Skipped"
    new_order(order)
    pay = withdraw(order)
    if pay == "Ok":
        confirm_sale(order)
        store = booking_food(order)
    if store == "Ok":
        delivery = booking_courier(order)
    if delivery != "Ok":
        give_back(order, store)
    result(order, pay, store, delivery)
    send_email(order, chain.reason_of(pay, store, delivery))
    return order.order_id


def give_back(order: Order, store: str) -> None:
    """The way back: what was done is undone, the last first."""
    if store == "Ok":
        cancel_booking_food(order)
    if refund_payment(order):
        refund_balance(order)


@app.post("/wait")
def place_and_wait(body: dict[str, Any]) -> str:
    """Answer when the order has ended."""
    return place_order(body, json.dumps(body))


@app.post("/send")
def place(body: dict[str, Any]) -> str:
    """Answer when the order is recorded."""
    return DBOS.start_workflow(place_order, body, json.dumps(body)).workflow_id


if __name__ == "__main__":
    DBOS.launch()
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
