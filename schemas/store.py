"""What the store's REST method takes and gives."""

from schemas.answers import Envelope, ToldMoney
from schemas.fields import Page, Wire


class MenuQuery(Page):
    """Which part of the menu: an empty object asks for all of it, up to a thousand dishes."""


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
    """A page of the dishes, by their ids."""

    dishs: list[MenuDish] | None = None
