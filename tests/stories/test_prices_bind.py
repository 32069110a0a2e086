"""Where the store's prices bind, an order must name the right amount."""

from collections.abc import Iterator

import pytest

from tests.stories.conftest import Stage


@pytest.fixture
def binding(stage: Stage) -> Iterator[Stage]:
    """The store's functions, with PRICES=store."""
    store = stage.system.process("store")
    yield from _restarted(stage, store.environment | {"PRICES": "store"}, store.environment)


def _restarted(stage: Stage, changed: dict[str, str], usual: dict[str, str]) -> Iterator[Stage]:
    from tools.local.children import stop

    store = stage.system.process("store")
    for environment in (changed, usual):
        stop([store])
        store.environment = environment
        stage.system.start_process("store")
        if environment is changed:
            yield stage


def test_the_amount_must_be_the_menus_less_the_stores_discount(binding: Stage):
    guest, dish = binding.new_user(100), binding.dish(stock=10, price="15.00")
    binding.system.sql.rows("UPDATE store.dishes SET discount = 1.50 WHERE id = :id", id=dish)
    right = binding.order(guest, binding.body(guest, dish, amount=27, discount=3))
    wrong = binding.order(guest, binding.body(guest, dish, amount=0.01, discount=29.99))

    assert binding.settled(right, wrong) == ["Completed", "Canceled"]
    assert binding.statuses(guest, wrong) == ("Canceled", "Ok", "WrongPrice", "Skipped")
    assert sorted(binding.mails(guest)) == ["Заказ успешно создан", "Ошибка заказа блюда"]
    assert binding.balance(guest) == "73.00"
    assert binding.stock(dish) == 8
