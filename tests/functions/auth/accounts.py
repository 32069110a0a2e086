"""How the administration of users answers: its shape, a user in it, and its refusals."""

from tests.clients import TIME

NOBODY = 9_000_000_000_000_000_000


UNREACHABLE = {"FUNCTION_URL": "http://127.0.0.1:1", "FUNCTION_URLS": "", "FUNCTION_URLS_FILE": ""}


NOT_FOUND = {
    "errorCode": -502,
    "errorMessage": "User not found",
    "id": None,
    "roles": None,
    "username": None,
    "password": None,
    "firstName": None,
    "middleName": None,
    "lastName": None,
    "email": None,
    "mobilePhone": None,
    "enabled": False,
    "accountNonLocked": False,
    "accountNonExpired": False,
    "credentialsNonExpired": False,
}
FLAGS = {"accountNonLocked": True, "accountNonExpired": True, "credentialsNonExpired": True}
USER = {"id": 2, "name": "ROLE_USER"}


def account(facts, **changes):
    """A user as an administrator sees it, in order."""
    named = {name: facts[name] for name in ("firstName", "middleName", "lastName", "email", "mobilePhone")}
    answered = {"id": facts["id"], "roles": [USER], "username": facts["username"], "password": None}
    return answered | named | {"enabled": True} | FLAGS | changes


def fine(fields):
    """An answer of the administration without an error, its time left out."""
    return [("errorCode", 0), ("errorMessage", ""), *fields.items()]


def timeless(answer):
    """The fields of an answer in their order; the time is there, first, and is looked at here."""
    assert answer.status == 200
    (name, answered), *others = answer.json.items()
    assert name == "operationTime"
    assert TIME.fullmatch(answered)
    return others


def refused(code, reason):
    """The answer about a user whom something stands against."""
    return list((NOT_FOUND | {"errorCode": code, "errorMessage": reason}).items())
