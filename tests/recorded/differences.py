"""Where the answers differ on purpose from the recorded ones: the one list, each entry with its reason.

An answer is written as the recorded ones are: what differs each time (a token, a time, an id) stands for its form.
Orders that are refused here and were accepted then move no money and bring no mail, so the recorded balance and mails
after them differ too; their entries tell the sums.
"""

from dataclasses import dataclass
from typing import Any

from functions.shared.exact_json import loads

MISSING = "expected a value, got nothing"
TIME = "22.11.2026 21:45:21"
TOKENS = {
    "access_token": "<jwt>", "token_type": "bearer", "refresh_token": "<jwt>", "expires_in": 900,
    "scope": "read write", "email": "user1@mail.ru", "jti": "6c17fe85-099c-4815-ae7f-9cc5a18ac7d2",
}  # fmt: skip
NOBODY = {
    "id": None, "roles": None, "username": None, "password": None, "firstName": None, "middleName": None,
    "lastName": None, "email": None, "mobilePhone": None, "enabled": False, "accountNonLocked": False,
    "accountNonExpired": False, "credentialsNonExpired": False,
}  # fmt: skip
FLAGS = {"enabled": True, "accountNonLocked": True, "accountNonExpired": True, "credentialsNonExpired": True}


@dataclass(frozen=True)
class Difference:
    """What is answered here instead, and why."""

    reason: str
    status: int
    answer: Any


def accepted() -> Difference:
    """An order that is taken."""
    reason = "the answer also tells the order's id, by which the order can be found"
    return Difference(reason, 200, {"status": "OK", "error": "", "orderId": "6c17fe85-099c-4815-ae7f-9cc5a18ac7d2"})


def refused(text: str, reason: str, status: int = 400) -> Difference:
    """A Simple ERROR."""
    return Difference(reason, status, {"status": "ERROR", "error": text})


def enveloped(code: int, text: str, reason: str, **fields: Any) -> Difference:
    """An envelope of the public API."""
    answer = {"errorCode": code, "errorMessage": text, "operationTime": TIME, **fields}
    return Difference(reason, 200, answer)


def administered(code: int, text: str, reason: str, **fields: Any) -> Difference:
    """An envelope of the administration."""
    answer = {"operationTime": TIME, "errorCode": code, "errorMessage": text, **fields}
    return Difference(reason, 200, answer)


def bad_request(message: str, path: str) -> Difference:
    """The framework's body, with what is wrong as its message."""
    answer = {"timestamp": "2026-11-22T21:45:20.129+00:00", "status": 400, "error": "Bad Request"}
    return Difference("a refusal names the field", 400, answer | {"message": message, "path": path})


def mail(message: str) -> dict[str, str]:
    """One of user1's mails."""
    return {"username": "user1", "message": message, "email": "user1@mail.ru", "status": "DELIVERED"}


def user(id: int, username: str, last_name: str, phone: str, role: tuple[int, str]) -> dict[str, Any]:
    """A user of the recording in the administrator's list."""
    return {
        "id": id, "roles": [{"id": role[0], "name": role[1]}], "username": username, "firstName": "Александр",
        "middleName": "Сергеевич", "lastName": last_name, "email": f"{username}@mail.ru", "mobilePhone": phone,
    } | FLAGS  # fmt: skip


INTERNAL_ERROR = "an internal error's text is an accident; a refusal names the field"
SIMPLE = "a malformed body is answered in the public API's own form"
MONEY = "money moves above zero and in two places only"
FIELD = "an unchecked field is an accident"
WORDS = "the refusal says what is refused instead of an internal error"
BEARER = "registration and login ignore a bearer"
PUBLISHED = "published clients add money at this path, so it is served"
ROLE = "only a client (ROLE_USER) uses the client's methods"

ABOVE_ZERO = "amount: expected an amount above zero, got "
PLACES = "amount: expected a number with at most two places, up to 9999999999.99, got "
DAY = "deliveryDate: expected a day of the calendar as dd.MM.yyyy, got "

# Taken here: `order ok` and its repetition as one, `order no money`, `order dish out`, `order same hour 1` and `2`.
MAILS = [
    mail("Заказ успешно создан"),
    mail("Недостаточно средств на балансе клиента"),
    mail("Выбранное блюдо недоступно"),
    mail("Заказ успешно создан"),
    mail("Заказ успешно создан"),
]
FEWER = (
    "one message is one order, orders with a wrong field are refused, and two of the recorded mails' orders are lost"
)

DIFFERENCES = {
    "registration no email": refused(f"email: {MISSING}", INTERNAL_ERROR),
    "registration no password": refused(
        "; ".join(f"{name}: {MISSING}" for name in ("firstName", "lastName", "mobilePhone", "password")),
        INTERNAL_ERROR,
    ),
    "registration malformed JSON": refused(
        "expected JSON, got something else: Expecting value: line 1 column 14 (char 13)", SIMPLE
    ),
    "token with bad bearer header": Difference(BEARER, 200, TOKENS),
    "edit no email": refused(
        "; ".join(f"{name}: {MISSING}" for name in ("lastName", "email", "mobilePhone")), FIELD
    ),
    "balance add published path": Difference(PUBLISHED, 200, {"status": "OK", "error": ""}),
    "balance add published path no token": Difference(
        PUBLISHED,
        401,
        {
            "error": "unauthorized",
            "error_description": "Full authentication is required to access this resource",
        },
    ),
    "balance add negative": refused(ABOVE_ZERO + "-1", MONEY),
    "balance add 3 places": refused(PLACES + "1.005", MONEY),
    "balance add malformed": refused(
        "expected JSON, got something else: Unterminated string starting at: line 1 column 13 (char 12)", SIMPLE
    ),
    "balance withdraw negative": refused(ABOVE_ZERO + "-1", MONEY),
    "balance get ok": enveloped(
        0,
        "",
        "1000 + 1000 (published path) + 5.50 - 71.73; recorded was 1000 - 1 + 1.01 + 5.50 - 71.73 + 1 = 934.78",
        username="user1",
        amount=loads("1933.77"),
    ),
    "balance get other user": enveloped(-8513, "Access denied", WORDS, username=None, amount=None),
    "notification other user": enveloped(-8513, "Access denied", WORDS, emails=None),
    "order ok": accepted(),
    "order same msgId again": accepted(),
    "order bad date": refused(DAY + "'2023-02-03'", SIMPLE),
    "order date 31.02": refused(DAY + "'31.02.2023'", "an unchecked date is an accident"),
    "order no dishs": refused(f"dishs: {MISSING}", FIELD),
    "order no amount": refused(f"amount: {MISSING}", FIELD),
    "order negative amount": refused(ABOVE_ZERO + "-5", MONEY),
    "order count string": refused("dishs.0.menuId: expected a whole number, got 'x'", SIMPLE),
    "order no money": accepted(),
    "order dish out": accepted(),
    "order same hour 1": accepted(),
    "order same hour 2": accepted(),
    "notification after": enveloped(0, "", FEWER, emails=MAILS),
    "balance get after": enveloped(
        0,
        "",
        "1933.77 - 76.09 - 1 - 1: each order charged once, refused ones not at all",
        username="user1",
        amount=loads("1855.68"),
    ),
    "unknown client get": enveloped(-9000, "Client not found", WORDS, username=None, amount=None),
    "token short-lived": Difference(
        "recorded tokens expired at once here; ours live on, and the questions about expired ones bring a signed one",
        200,
        TOKENS | {"email": "user1b@mail.ru"},
    ),
    "find expired token": Difference(
        "a token is never repeated", 401, {"error": "invalid_token", "error_description": "Access token expired"}
    ),
    "registration with expired token": refused("Duplicate username", BEARER, 200),
    "find without ROLE_USER": Difference(
        ROLE, 403, {"error": "access_denied", "error_description": "Access is denied"}
    ),
    "users": administered(
        0,
        "",
        "the administrator is made at the installation and has ROLE_ADMIN; u1 was there in the recording alone",
        users=[
            {
                "id": 1, "roles": [{"id": 1, "name": "ROLE_ADMIN"}], "username": "admin", "firstName": "admin",
                "middleName": "admin", "lastName": "admin", "email": "admin@localhost", "mobilePhone": "<phone>",
            }
            | FLAGS,
            user(3, "user1", "Новый", "+37526751765", (2, "ROLE_USER")),
            user(5, "user1b", "Фамилия", "+375267517659", (1, "ROLE_ADMIN")),
        ],
    ),
    "users/id text": bad_request(
        "id: expected a whole number, got 'abc'",
        "/auth-service/api/v1/users/abc",
    ),
    "roles create again": administered(-700, "Duplicate role", WORDS, id=None, name=None),
    "users create": administered(
        0,
        "",
        "a password hash is never returned",
        id=7,
        roles=[{"id": 2, "name": "ROLE_USER"}],
        username="user1c",
        password=None,
        firstName="Александр",
        middleName="Сергеевич",
        lastName="Фамилия",
        email="user1@mail.ru",
        mobilePhone="+375267517655",
        **FLAGS,
    ),
    "users edit": administered(-700, "Duplicate mobilePhone", WORDS, **NOBODY),
    "users edit unknown": administered(-502, "User not found", WORDS, **NOBODY),
    "disable unknown": administered(-502, "User not found", WORDS, id=None, isEnabled=None),
    "delete": bad_request("expected a valid list, got an object", "/auth-service/api/v1/users"),
    "oauth/token": Difference("every login has tokens of its own, at their full time", 200, TOKENS),
    "oauth/token wrong client": Difference(
        "every answer is JSON", 403, {"error": "invalid_client", "error_description": "Bad client credentials"}
    ),
    "oauth/check_token": Difference(
        "which token was sent is not recorded; a good one is answered with its claims",
        200,
        {
            "user_name": "user1", "scope": ["read", "write"], "exp": 0, "authorities": ["ROLE_USER"],
            "jti": "6c17fe85-099c-4815-ae7f-9cc5a18ac7d2", "email": "user1@mail.ru",
            "client_id": "USER_CLIENT_APP", "iat": 0, "active": True,
        },
    ),
    "jwks": Difference(
        "the keys are public: whoever checks tokens fetches them here",
        200,
        {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "<text>", "n": "<text>", "e": "AQAB"}]},
    ),
    "findEmail": enveloped(0, "", FEWER, emails=MAILS),
}  # fmt: skip
