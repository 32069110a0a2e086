"""The paths of the REST methods other than auth's, by the form of their answer, and a good body for each."""

from tests.clients import API, order_of

ADD, WITHDRAW, GET = (f"{API}/external/user/balance/{name}" for name in ("add", "withdraw", "get"))
PUBLISHED_ADD = f"{API}/user/balance/add"
MAILS, MENU, SLOTS = f"{API}/external/user/notification", f"{API}/external/menu", f"{API}/external/delivery/slots"
ORDER, FIND, LIST = f"{API}/external/order", f"{API}/external/order/find", f"{API}/external/order/list"

MOVES = [ADD, PUBLISHED_ADD, WITHDRAW]
SIMPLE = [*MOVES, ORDER]
ENVELOPES = [GET, MAILS, FIND, LIST]
NAMED = [*SIMPLE, *ENVELOPES]
BEARER = [*NAMED, MENU, SLOTS]
OPEN = ["/health", "/health/readiness", "/info"]

ENDPOINTS = ["billing-internal-add", "billing-internal-withdraw", "billing-internal-get", "billing-client-create"]
INTERNAL = [*ENDPOINTS, "notification-find-email", "notification-missing"]

OK = {"status": "OK", "error": ""}
ENVELOPE = ["errorCode", "errorMessage", "operationTime"]
LARGEST = "9999999999.99"


def error(reason):
    """A refusal of a Simple answer."""
    return {"status": "ERROR", "error": reason}


def good_body(path, user):
    """What the method at `path` takes from `user`."""
    if path == ORDER:
        return order_of(user)
    if path in MOVES:
        return {"username": user.username, "amount": 1}
    if path == FIND:
        return {"userName": user.username, "msgId": "none"}
    if path == SLOTS:
        return {"date": "01.01.2050"}
    return {"userName" if path == LIST else "username": user.username}
