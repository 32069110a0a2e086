"""Reserve every dish of an order, or none. Undone by cancel_booking_food.py."""

from collections import Counter

from pydantic import Field

from functions.shared.database import Database
from functions.shared.settings import Settings, read
from functions.shared.step import step
from schemas.events import BookingCourier, BookingFood, PayStatus, StoreStatus

DECIDED = "SELECT status FROM reservations WHERE order_id = :order_id"

# Dishes are locked in the order of their ids, so that two orders for the same dishes wait and never deadlock.
RESERVE = """
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:dish_ids AS integer[]), CAST(:counts AS integer[])) AS w (dish_id, count)
    ), locked AS (
        SELECT d.id, d.price, d.in_stock, w.count
          FROM dishes d JOIN wanted w ON w.dish_id = d.id
         ORDER BY d.id
           FOR UPDATE OF d
    ), verdict AS (
        SELECT CASE WHEN count(*) < (SELECT count(*) FROM wanted) OR NOT bool_and(in_stock >= count)
                    THEN 'NotAvailable'
                    WHEN :prices_bind AND sum(price * count) - :discount <> :amount THEN 'WrongPrice'
                    ELSE 'Ok' END AS status
          FROM locked
    ), decided AS (
        INSERT INTO reservations (order_id, status) SELECT :order_id, status FROM verdict RETURNING status
    ), booked AS (
        INSERT INTO bookings (order_id, dish_id, count, price)
        SELECT :order_id, id, count, price FROM locked, decided WHERE status = 'Ok'
    ), taken AS (
        UPDATE dishes d SET in_stock = d.in_stock - l.count
          FROM locked l, decided WHERE d.id = l.id AND status = 'Ok'
    )
    SELECT status FROM decided
"""


class PriceSettings(Settings):
    """Whose prices bind: the client's amount as it is, or the store's menu."""

    prices: str = Field(
        default="client", pattern="^(client|store)$", description="client, or store: amount must match the menu"
    )


@step
def booking_food(order: BookingFood, db: Database) -> BookingCourier:
    """A paid order gets all its dishes or none; one that failed before passes through untouched."""
    status = StoreStatus.SKIPPED
    if order.pay_status is PayStatus.OK:
        status = reserve(order, db)
    return BookingCourier(**order.facts(), pay_status=order.pay_status, store_status=status)


def reserve(order: BookingFood, db: Database) -> StoreStatus:
    """Decide once; an order that was decided before keeps its answer."""
    wanted = Counter[int]()
    for dish in order.dishs:
        wanted[dish.menu_id] += dish.count
    decision = db.row(DECIDED, order_id=order.order_id) or db.row(
        RESERVE,
        order_id=order.order_id,
        dish_ids=list(wanted),
        counts=list(wanted.values()),
        prices_bind=read(PriceSettings).prices == "store",
        amount=order.amount,
        discount=order.discount,
    )
    return StoreStatus(decision.status)
