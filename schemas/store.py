"""What the store's REST method takes and gives."""

from schemas.answers import Envelope, ToldMoney
from schemas.fields import Wire


class MenuQuery(Wire):
    """The whole menu is asked for: an empty object."""


class MenuDish(Wire):
    """A dish as the client may order it; `discount` is what the store takes off the price of a portion."""

    menu_id: int
    name: str
    description: str
    weight: int
    price: ToldMoney
    discount: ToldMoney
    in_stock: int


class Menu(Envelope):
    """All dishes, by their ids."""

    dishs: list[MenuDish] | None = None
