"""Calling a function in the test's own process, with requests and events as servers bring them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from flask import Request
from werkzeug.test import EnvironBuilder

from functions.shared import exact_json
from schemas.events import ALL
from tests.system import OURS, Rows

BATCH = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"


class Reply:
    """A function's answer."""

    def __init__(self, answer: tuple[Any, int, dict[str, str]]):
        body, self.status, self.headers = answer
        self.text = body.decode() if isinstance(body, bytes) else body

    @property
    def json(self) -> Any:
        return exact_json.loads(self.text)

    @property
    def event(self) -> tuple[str | None, str | None]:
        return self.headers.get("ce-type"), self.headers.get("ce-id")


def ask(
    function: Callable, body: str | bytes = b"", *, method: str = "POST", path: str = "/", **headers: str
) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if getattr(function, "internal", False):
        named = OURS | named
    builder = EnvironBuilder(method=method, path=path, data=body, headers=named)
    return Reply(function(Request(builder.get_environ())))


def event(short: str, order: str, **changes: Any) -> dict[str, Any]:
    """An event of the saga; `data_` changes its data."""
    data = {**ALL[short].example, "orderId": order, **changes.pop("data_", {})}
    attributes = {"specversion": "1.0", "id": f"{short}-{order}", "source": "/test", "type": f"homework.arch.{short}"}
    return {**attributes, "subject": order, "datacontenttype": "application/json", **changes, "data": data}


def send(function: Callable, *sent: dict[str, Any]) -> Reply:
    """One structured, several as a batch."""
    if len(sent) > 1:
        return ask(function, exact_json.dumps(list(sent)), Content_Type=BATCH)
    return ask(function, exact_json.dumps(sent[0]), Content_Type=STRUCTURED)


def send_binary(function: Callable, sent: dict[str, Any]) -> Reply:
    headers = {f"ce-{name}": value for name, value in sent.items() if name not in ("data", "datacontenttype")}
    return ask(function, exact_json.dumps(sent["data"]), Content_Type="application/json", **headers)


def timeless(made: dict[str, Any]) -> dict[str, Any]:
    """An event without the time at which it was made: all else of a repeated answer is the same."""
    return {name: value for name, value in made.items() if name != "time"}


def balance(rows: Rows) -> Decimal:
    """What the first client of the starting data has."""
    return rows.value("SELECT balance FROM billing.clients WHERE username = 'user1'")
