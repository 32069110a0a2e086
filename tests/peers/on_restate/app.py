"""The saga as a Restate service on Hypercorn, as Restate's documentation teaches it; one process.

Each step is a `ctx.run` whose result Restate keeps. It may run twice after a crash, which our statements stand.
"""

import asyncio
import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import hypercorn
import hypercorn.asyncio
import restate
from psycopg_pool import AsyncConnectionPool
from restate import RunOptions

from tools import bench_chain as chain
from tools.bench_chain import Order, Step

DATABASE_URL, PORT = os.environ["DATABASE_URL"], int(os.environ["PORT"])
CONNECTIONS = 16

orders = restate.Service("Orders")
app = restate.app([orders])
pool = AsyncConnectionPool(
    DATABASE_URL, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, kwargs={"autocommit": True}
)


@cache
def for_psycopg(sql: str) -> str:
    """Our named parameters in psycopg's way."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", sql.replace("%", "%%"))


async def run(make: Callable[..., Step], *facts: Any) -> Any:
    """Run a step's statements, each a commit; of those that write there is one."""
    step, row = make(*facts), None
    async with pool.connection() as connection:
        while True:
            try:
                sql, values = step.send(row)
            except StopIteration as end:
                return end.value
            found = await connection.execute(for_psycopg(sql), values)
            row = await found.fetchone() if found.description else None


async def durably(ctx: restate.Context, name: str, make: Callable[..., Step], *facts: Any) -> Any:
    """Run a step whose result Restate keeps under its name."""
    return await ctx.run_typed(name, run, RunOptions(), make, *facts)


@orders.handler()
async def place(ctx: restate.Context, ordered: dict[str, Any]) -> str:
    """The saga; Restate finishes it after a crash, so that no outbox is needed for the mail."""
    order = Order(**ordered)
    await durably(ctx, "order.newOrder", chain.new_order, order)
    store = delivery = "Skipped"
    pay = await durably(ctx, "billing.withdraw", chain.withdraw, order)
    if pay == "Ok":
        await durably(ctx, "pay.confirmSale", chain.confirm_sale, order)
        store = await durably(ctx, "store.bookingFood", chain.booking_food, order)
    if store == "Ok":
        delivery = await durably(ctx, "delivery.bookingCourier", chain.booking_courier, order)
    if delivery != "Ok":
        await give_back(ctx, order, store)
    message = await durably(ctx, "order.result", chain.result, order, pay, store, delivery)
    await durably(ctx, "notification.email", chain.send_email, order, message)
    return message


async def give_back(ctx: restate.Context, order: Order, store: str) -> None:
    """The way back: what was done is undone, the last first."""
    if store == "Ok":
        await durably(ctx, "store.cancelBookingFood", chain.cancel_booking_food, order)
    if await durably(ctx, "pay.refund", chain.refund_payment, order):
        await durably(ctx, "billing.refund", chain.refund_balance, order)


async def serve() -> None:
    """Serve with the limits that Restate's documentation sets for production."""
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.h2_max_concurrent_streams = config.keep_alive_max_requests = config.keep_alive_timeout = 2**31 - 1
    async with pool:
        await hypercorn.asyncio.serve(app, config)


if __name__ == "__main__":
    asyncio.run(serve())
