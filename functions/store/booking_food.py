"""Reserve every dish of an order, or none. Undone by cancel_booking_food.py."""

from collections import Counter

from pydantic import Field

from functions.shared.decisions import Decisions
from functions.shared.settings import Settings, read
from functions.shared.step import step
from functions.store import locks
from schemas.events import BookingCourier, BookingFood, StoreStatus

# Decide once: an order that was decided before keeps its answer. Dishes are locked in the order of their ids, so that
# two orders for the same dishes wait and never deadlock.
RESERVE = """
    WITH decided AS (
        SELECT status FROM reservations WHERE order_id = :order_id
    ), wanted AS (
        SELECT dish_id, count
          FROM unnest(CAST(:dish_ids AS integer[]), CAST(:counts AS integer[])) AS w (dish_id, count)
    ), locked AS (
        SELECT d.id, d.price, d.discount, d.in_stock, w.count
          FROM dishes d JOIN wanted w ON w.dish_id = d.id
         WHERE NOT EXISTS (SELECT FROM decided)
         ORDER BY d.id
           FOR NO KEY UPDATE OF d
    ), verdict AS (
        SELECT CASE WHEN count(*) < (SELECT count(*) FROM wanted) OR NOT bool_and(in_stock >= count)
                    THEN 'NotAvailable'
                    WHEN :prices_bind
                     AND (sum(discount * count), sum((price - discount) * count)) <> (:discount, :amount)
                    THEN 'WrongPrice'
                    ELSE 'Ok' END AS status
          FROM locked
    ), reserved AS (
        INSERT INTO reservations (order_id, status, prices_bind)
        SELECT :order_id, status, :prices_bind FROM verdict WHERE NOT EXISTS (SELECT FROM decided)
        RETURNING status
    ), booked AS (
        INSERT INTO bookings (order_id, dish_id, count, price, discount)
        SELECT :order_id, id, count, price, discount FROM locked, reserved WHERE status = 'Ok'
    ), taken AS (
        UPDATE dishes d SET in_stock = d.in_stock - l.count
          FROM locked l, reserved WHERE d.id = l.id AND status = 'Ok'
    )
    SELECT status FROM decided UNION ALL SELECT status FROM reserved
"""


class PriceSettings(Settings):
    """Whose prices bind: the client's amount as it is, or the store's prices and discounts."""

    prices: str = Field(
        default="client",
        pattern="^(client|store)$",
        description="client, or store: amount and discount must be those of the menu",
    )


@step
def booking_food(order: BookingFood, db: Decisions) -> BookingCourier:
    """A paid order gets all its dishes or none; one that failed before passes through untouched."""
    status = StoreStatus.SKIPPED
    if order.is_ok:
        status = reserve(order, db)
    return BookingCourier(**order.facts(), **order.statuses(), store_status=status)


def reserve(order: BookingFood, db: Decisions) -> StoreStatus:
    """The store's decision about an order."""
    wanted = Counter[int]()
    for dish in order.dishs:
        wanted[dish.menu_id] += dish.count
    reservation = db.row(
        RESERVE,
        locks.dishes(order.dishs),
        order_id=order.order_id,
        dish_ids=list(wanted),
        counts=list(wanted.values()),
        prices_bind=read(PriceSettings).prices == "store",
        amount=order.amount,
        discount=order.discount,
    )
    return StoreStatus(reservation.status)
