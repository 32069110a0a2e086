"""Lists come in pages: a thousand without being asked, any part of them when asked for."""

import pytest

from tests.clients import ADMIN, order_of
from tests.functions.paths import LIST, MAILS, MENU, ORDER


@pytest.fixture
def administered(gateway, admin_token):
    """Read a list of the administration."""
    return lambda path: gateway.get(ADMIN + path, token=admin_token)


def test_orders_come_in_pages(ask, guest):
    ids = [ask(ORDER, guest, order_of(guest)).json["orderId"] for _ in range(5)][::-1]

    def page(**part):
        found = ask(LIST, guest, {"userName": guest.username, **part}).json["orders"]
        return [order["orderId"] for order in found]

    assert ids == page() == page(size=1000)
    assert [ids[:2], ids[2:4], ids[4:], []] == [page(size=2, page=number) for number in range(4)]
    assert ids[1:2] == page(size="1", page="1")


def test_mails_come_in_pages_the_newest_first_and_each_oldest_first(ask, internal, guest, database):
    for number in range(5):
        database("notification").rows(
            "INSERT INTO notification.emails (order_id, username, email, message) VALUES (:id, :name, 'a@b', :text)",
            id=f"{guest.username}-{number}", name=guest.username, text=str(number),
        )  # fmt: skip
    try:
        for mails in (
            lambda **part: ask(MAILS, guest, {"username": guest.username, **part}),
            lambda **part: internal("notification-find-email", {"username": guest.username, **part}),
        ):
            texts = [
                [mail["message"] for mail in mails(**part).json["emails"]]
                for part in ({}, {"size": 2}, {"size": 2, "page": 1}, {"size": 2, "page": 2}, {"size": 2, "page": 3})
            ]
            assert [["0", "1", "2", "3", "4"], ["3", "4"], ["1", "2"], ["0"], []] == texts
    finally:
        # They are of no order, which the audit would find.
        database("notification").rows("DELETE FROM notification.emails WHERE username = :name", name=guest.username)


def test_more_than_a_thousand_mails_are_not_listed_at_once(ask, guest, database):
    database("notification").rows(
        "INSERT INTO notification.emails (order_id, username, email, message)"
        " SELECT :name || n, :name, 'a@b', CAST(n AS text) FROM generate_series(1, 1001) AS n",
        name=guest.username,
    )
    try:
        mails = ask(MAILS, guest, {"username": guest.username}).json["emails"]
        assert (1000, "2", "1001") == (len(mails), mails[0]["message"], mails[-1]["message"])
        rest = ask(MAILS, guest, {"username": guest.username, "page": 1}).json["emails"]
        assert ["1"] == [mail["message"] for mail in rest]
    finally:
        database("notification").rows("DELETE FROM notification.emails WHERE username = :name", name=guest.username)


def test_the_menu_comes_in_pages(ask, guest):
    pages = [ask(MENU, guest, {"size": 2, "page": number}).json["dishs"] for number in range(3)]
    assert [[1, 2], [3, 4]] == [[dish["menuId"] for dish in page] for page in pages[:2]]
    assert 5 == pages[2][0]["menuId"]


def test_users_come_in_pages(administered, new_user):
    names = [new_user().username for _ in range(3)]
    pages, number = [], 0
    while found := administered(f"/users?size=50&page={number}").json["users"]:
        pages, number = [*pages, found], number + 1
    assert {50} >= {len(page) for page in pages[:-1]}
    assert names == [user["username"] for page in pages for user in page if user["username"] in names]


def test_roles_come_in_pages(administered):
    assert ["ROLE_ADMIN"] == [role["name"] for role in administered("/roles?size=1").json["roles"]]
    assert ["ROLE_USER"] == [role["name"] for role in administered("/roles?size=1&page=1").json["roles"]]


WRONG = [{"size": 0}, {"size": 1001}, {"page": -1}, {"page": 10**18}, {"size": "x"}, {"page": 1.5}]


@pytest.mark.parametrize("part", WRONG)
@pytest.mark.parametrize(("path", "name"), [(LIST, "userName"), (MAILS, "username"), (MENU, "nobody")])
def test_a_page_that_is_none_is_refused(ask, guest, path, name, part):
    answer = ask(path, guest, {name: guest.username, **part})
    assert (400, True) == (answer.status, answer.json["error"].startswith(f"{next(iter(part))}: expected"))


@pytest.mark.parametrize("query", ["size=0", "size=1001", "page=-1", "size=1_0", "page=%D9%A5", "page=", "size=%ff"])
@pytest.mark.parametrize("path", ["/users", "/roles"])
def test_a_page_that_is_none_is_refused_in_a_query_too(administered, path, query):
    answer = administered(f"{path}?{query}")
    assert (400, True) == (answer.status, "expected" in answer.json["message"])


@pytest.mark.parametrize("query", ["", "?", "?nosuch=1", "?33cd6a33", "?page=0&page=x"])
def test_what_a_query_says_beside_it_is_ignored(administered, query):
    assert 200 == administered("/roles" + query).status
