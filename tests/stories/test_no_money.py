"""Billing says no: nothing is booked anywhere, and the guest is told why."""

from tests.stories.conftest import BACK, END, FORWARD, Stage


def test_without_money_nothing_is_paid_reserved_or_delivered(stage: Stage):
    guest, dish = stage.new_user("25.49"), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish))

    assert stage.settled(order) == ["Canceled"]
    assert stage.statuses(guest, order) == ("Canceled", "NotEnoughMoney", "Skipped", "Skipped")
    assert stage.trace(order) == [*FORWARD, *BACK, *END]
    assert stage.payments(order) == []
    assert stage.balance(guest) == "25.49"
    assert stage.stock(dish) == 10
    assert stage.couriers(order) == 0
    assert stage.mails(guest) == ["Недостаточно средств на балансе клиента"]


def test_without_an_account_the_payment_is_an_error(stage: Stage):
    guest, dish = stage.new_user(), stage.dish(stock=10)
    stage.system.sql.rows("DELETE FROM billing.clients WHERE username = :name", name=guest.username)
    order = stage.order(guest, stage.body(guest, dish))

    assert stage.settled(order) == ["Canceled"]
    assert stage.statuses(guest, order) == ("Canceled", "ClientNotFound", "Skipped", "Skipped")
    assert stage.payments(order) == []
    assert stage.mails(guest) == ["Ошибка оплаты"]
    stage.system.sql.rows("INSERT INTO billing.clients (username) VALUES (:name)", name=guest.username)
