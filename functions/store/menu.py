"""Show the menu: dishes, prices, what is in stock."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.store import Menu, MenuDish, MenuQuery

DISHES = """
    SELECT id, name, description, weight_grams, price, discount, in_stock
      FROM dishes ORDER BY id LIMIT :size OFFSET :offset
"""


@rest("POST", "/ui-api-service/api/v1/external/menu", caller="bearer", autocommit=True)
def menu(body: MenuQuery, db: Database) -> Menu:
    """Every dish, also those that are sold out."""
    dishes = [
        MenuDish(
            menu_id=dish.id,
            name=dish.name,
            description=dish.description,
            weight=dish.weight_grams,
            price=dish.price,
            discount=dish.discount,
            in_stock=dish.in_stock,
        )
        for dish in db.rows(DISHES, **body.rows)
    ]
    return Menu(dishs=dishes)
