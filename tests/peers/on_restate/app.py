"""The saga as a Restate service on Hypercorn, as Restate's documentation teaches it; one process.

Each step is a `ctx.run` whose result Restate keeps. It may run twice after a crash, which our statements stand.
"""

import asyncio
import json
import os
from typing import Any

import hypercorn
import hypercorn.asyncio
import restate
from psycopg_pool import AsyncConnectionPool
from restate import RunOptions

from tools import bench_chain as chain
from tools.bench_chain import Asked, Order

DATABASE_URL, PORT = os.environ["DATABASE_URL"], int(os.environ["PORT"])
CONNECTIONS = 16
NO_LIMIT = 2**31 - 1

orders = restate.Service("Orders")
app = restate.app([orders])
pool = AsyncConnectionPool(DATABASE_URL, min_size=CONNECTIONS, open=False, kwargs={"autocommit": True})


async def run(asked: Asked) -> Any:
    """Run a step's statement; gives what it decided."""
    async with pool.connection() as connection:
        found = await connection.execute(chain.for_psycopg(asked.sql), asked.values)
        row = await found.fetchone() if found.description else None
    return row[0] if row else None


async def is_there(asked: Asked) -> bool:
    """Run a step's statement; gives whether it found anything."""
    return await run(asked) is not None


async def durably(ctx: restate.Context, name: str, asked: Asked) -> Any:
    """Run a step whose result Restate keeps under its name."""
    return await ctx.run_typed(name, run, RunOptions(), asked)


@orders.handler()
async def place(ctx: restate.Context, body: dict[str, Any]) -> str:
    """The saga. pay.sale decides nothing, so it is no step; the mail needs no outbox: Restate resumes the handler."""
    order = Order.of(body, json.dumps(body))
    store = delivery = "Skipped"
    await durably(ctx, "order.newOrder", chain.new_order(order))
    pay = await durably(ctx, "billing.withdraw", chain.withdraw(order))
    if pay == "Ok":
        await durably(ctx, "pay.confirmSale", chain.confirm_sale(order))
        store = await durably(ctx, "store.bookingFood", chain.booking_food(order))
    if store == "Ok":
        delivery = await durably(ctx, "delivery.bookingCourier", chain.booking_courier(order))
    if delivery != "Ok":
        await give_back(ctx, order, store)
    await durably(ctx, "order.result", chain.result(order, pay, store, delivery))
    mail = chain.send_email(order.order_id, order.username, chain.reason_of(pay, store, delivery))
    await durably(ctx, "notification.email", mail)
    return order.order_id


async def give_back(ctx: restate.Context, order: Order, store: str) -> None:
    """The way back: what was done is undone, the last first."""
    if store == "Ok":
        await durably(ctx, "store.cancelBookingFood", chain.cancel_booking_food(order))
    if await ctx.run_typed("pay.refund", is_there, RunOptions(), chain.refund_payment(order)):
        await durably(ctx, "billing.refund", chain.refund_balance(order))


async def serve() -> None:
    """Serve with the limits that Restate's documentation sets for production."""
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.h2_max_concurrent_streams = config.keep_alive_max_requests = config.keep_alive_timeout = NO_LIMIT
    async with pool:
        await hypercorn.asyncio.serve(app, config)


if __name__ == "__main__":
    asyncio.run(serve())
