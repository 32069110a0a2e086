"""The rows that several orders change: a batch locks them first, all in one order."""

from collections.abc import Iterable

from functions.shared.decisions import Locks
from schemas.events import Dish

DISHES = "SELECT id FROM dishes WHERE id = ANY(CAST(:keys AS integer[])) ORDER BY id FOR NO KEY UPDATE"


def dishes(ordered: Iterable[Dish]) -> Locks:
    """The stock of an order's dishes."""
    return Locks(DISHES, [dish.menu_id for dish in ordered])
