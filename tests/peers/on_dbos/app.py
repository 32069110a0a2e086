"""The saga as a DBOS workflow behind FastAPI, as DBOS' documentation teaches it; one process.

Each step is a transaction of a datasource: the step's rows and DBOS' record of it are one commit. The steps' own level
of isolation is READ COMMITTED, as with ours; at DBOS' SERIALIZABLE two orders for one dish would fail and try again.
"""

import os
from typing import Any

import uvicorn
from dbos import DBOS, DBOSConfig, SQLAlchemyDatasource
from fastapi import FastAPI
from sqlalchemy import text

from tools import bench_chain as chain
from tools.bench_chain import Order, Row, Step, Values

DATABASE_URL, PORT = os.environ["DATABASE_URL"], int(os.environ["PORT"])
WORKERS = 16

app = FastAPI()
DBOS(config=DBOSConfig(
    name="orders", system_database_url=DATABASE_URL, sys_db_pool_size=WORKERS, max_executor_threads=WORKERS,
    log_level="WARNING",
))  # fmt: skip
food = SQLAlchemyDatasource.create(DATABASE_URL, engine_kwargs={"pool_size": WORKERS})
transaction = food.transaction(isolation_level="READ COMMITTED")


def run(step: Step) -> Any:
    """Run a step's statements in the transaction that DBOS has begun."""
    session = food.sql_session()

    def execute(sql: str, values: Values) -> Row | None:
        found = session.execute(text(sql), values)
        return next(iter(found), None) if found.returns_rows else None

    return chain.run(step, execute)


@transaction
def new_order(order: Order) -> None:
    run(chain.new_order(order))


@transaction
def withdraw(order: Order) -> str:
    return run(chain.withdraw(order))


@transaction
def confirm_sale(order: Order) -> None:
    run(chain.confirm_sale(order))


@transaction
def booking_food(order: Order) -> str:
    return run(chain.booking_food(order))


@transaction
def booking_courier(order: Order) -> str:
    return run(chain.booking_courier(order))


@transaction
def result(order: Order, pay: str, store: str, delivery: str) -> str:
    return run(chain.result(order, pay, store, delivery))


@transaction
def send_email(order: Order, message: str) -> None:
    run(chain.send_email(order, message))


@transaction
def cancel_booking_food(order: Order) -> None:
    run(chain.cancel_booking_food(order))


@transaction
def refund_payment(order: Order) -> bool:
    return run(chain.refund_payment(order))


@transaction
def refund_balance(order: Order) -> None:
    run(chain.refund_balance(order))


@DBOS.workflow()
def place_order(ordered: dict[str, Any]) -> str:
    """The saga; DBOS finishes it after a crash, so that no outbox is needed for the mail."""
    order = Order(**ordered)
    new_order(order)
    pay, store, delivery = withdraw(order), "Skipped", "Skipped"
    if pay == "Ok":
        confirm_sale(order)
        store = booking_food(order)
    if store == "Ok":
        delivery = booking_courier(order)
    if delivery != "Ok":
        give_back(order, store)
    message = result(order, pay, store, delivery)
    send_email(order, message)
    return message


def give_back(order: Order, store: str) -> None:
    """The way back: what was done is undone, the last first."""
    if store == "Ok":
        cancel_booking_food(order)
    if refund_payment(order):
        refund_balance(order)


@app.post("/wait")
def place_and_wait(ordered: dict[str, Any]) -> str:
    """Answer when the order has ended."""
    return place_order(ordered)


@app.post("/send")
def send(ordered: dict[str, Any]) -> str:
    """Answer when the order is recorded."""
    return DBOS.start_workflow(place_order, ordered).workflow_id


if __name__ == "__main__":
    DBOS.launch()
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
