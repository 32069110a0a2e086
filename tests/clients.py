"""What the tests' clients send and see: paths, people, orders, and the forms of what is never the same."""

import itertools
import re
import uuid
from datetime import date, timedelta

import jwt

API = "/ui-api-service/api/v1"
ADMIN = "/auth-service/api/v1"
FORM = "application/x-www-form-urlencoded"
TIME = re.compile(r"\d{2}\.\d{2}\.\d{4} \d{2}:\d{2}:\d{2}")
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


def person(**changes):
    """A registration that nobody has sent before."""
    name = uuid.uuid4().hex
    facts = {
        "username": name,
        "password": "123456",
        "firstName": "Александр",
        "middleName": "Сергеевич",
        "lastName": "Фамилия",
        "email": f"{name}@mail.ru",
        "mobilePhone": "+" + str(uuid.uuid4().int)[:25],
    }
    return facts | changes


def without(facts, *fields):
    """The facts, some left out."""
    return {name: value for name, value in facts.items() if name not in fields}


def as_json():
    """The header of a body that says it is JSON."""
    return {"Content-Type": "application/json"}


def claims_in(token):
    """What a token says, unchecked."""
    return jwt.decode(token, options={"verify_signature": False})


_days = itertools.count()


def day_of_its_own():
    """A delivery day that no other test books couriers for."""
    return (date(2040, 1, 1) + timedelta(days=next(_days))).strftime("%d.%m.%Y")


def order_of(user, **changes):
    """An order that the user has not sent before; None as a value leaves the field out."""
    order = {
        "msgId": uuid.uuid4().hex,
        "amount": 76.09,
        "discount": 88.4,
        "quantity": 3,
        "userName": user.username,
        "dishs": [{"menuId": 1, "count": 2}, {"menuId": 4, "count": 1}],
        "deliveryDate": day_of_its_own(),
        "deliveryHour": 23,
    }
    return {name: value for name, value in (order | changes).items() if value is not None}
