"""What every function stands on: settings, database, the step's promise, the outbox, forgetting."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from flask import Request
from functions.billing.forget import forget
from functions.order.purge import purge
from pydantic import BaseModel, Field, ValidationError
from werkzeug.test import EnvironBuilder

from functions.billing.refund import refund
from functions.billing.withdraw import withdraw
from functions.order import outbox
from functions.order.flush import flush
from functions.pay.sale import sale
from functions.shared import call as calls
from functions.shared import database, events, exact_json, probes, traces
from functions.shared.cron import scheduled
from functions.shared.logs import JsonLine, log
from functions.shared.refusals import explain
from functions.shared.settings import DatabaseSettings, Misconfigured, Settings, read
from functions.shared.step import step
from schemas.events import ALL
from tests.fakes import FakeFunction
from tests.system import Rows, eventually
from tools.local.environment import role_url
from tools.local.processes import free_port

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


@pytest.fixture(scope="module")
def admin(fresh_database: Callable[[], str]) -> Rows:
    made = Rows(fresh_database())
    made.url = f"postgresql://{made._address['user']}:{made._address['password'] or ''}@{made._address['host']}"
    made.url += f":{made._address['port']}/{made._address['database']}"
    return made


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set variables, as if the process had been started with them."""

    def forget_all() -> None:
        read.cache_clear()
        calls._listed.cache_clear()
        if connection := getattr(database._of_thread, "database", None):
            connection.close()

    def change(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        forget_all()

    yield change
    monkeypatch.undo()
    forget_all()


@pytest.fixture
def become(admin: Rows, settings: Callable, secrets: Any) -> Callable[[str], None]:
    """Connect as an owner's role from now on."""
    passwords = json.loads((secrets / "roles.json").read_text())
    return lambda owner: settings(DATABASE_URL=role_url(admin.url, owner, passwords[owner]))


@pytest.fixture
def billing(become: Callable, admin: Rows) -> Rows:
    """Billing's database, with a rich client."""
    become("billing")
    admin.rows(
        "INSERT INTO billing.clients (username, opening, balance) VALUES ('user1', 1000, 1000) "
        "ON CONFLICT (username) DO UPDATE SET balance = 1000"
    )
    return admin


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    found: list[str] = []
    log("ready", level=logging.DEBUG)
    handler = logging.Handler()
    handler.emit = lambda record: found.append(JsonLine().format(record))
    logging.getLogger("food").addHandler(handler)
    yield found
    logging.getLogger("food").removeHandler(handler)


def balance(rows: Rows) -> Decimal:
    return rows.value("SELECT balance FROM billing.clients WHERE username = 'user1'")


# -- settings -------------------------------------------------------------------------------------------------------


class Wanted(Settings):
    """Three settings."""

    wanted_url: str = Field(pattern="^http", description="where it is")
    wanted_count: int = Field(ge=1, description="how many")
    wanted_name: str = Field(default="x", description="its name")


def test_all_gaps_are_told_in_one_line(settings):
    settings(WANTED_COUNT="none")
    with pytest.raises(Misconfigured) as told:
        read(Wanted)
    first, second = str(told.value).split("; ")
    assert "WANTED_URL is not set: where it is" == first
    assert second.startswith("WANTED_COUNT is wrong (") and second.endswith("): how many")


def test_a_file_holds_what_its_variable_would(settings, tmp_path):
    (tmp_path / "url").write_text("http://x\n")
    settings(WANTED_URL_FILE=str(tmp_path / "url"), WANTED_COUNT="3")
    assert ("http://x", 3, "x") == tuple(read(Wanted).model_dump().values())


def test_a_file_may_be_mounted_in_a_folder_of_its_name(settings, tmp_path):
    (tmp_path / "url").mkdir()
    (tmp_path / "url" / "url").write_text("http://x\n")
    settings(WANTED_URL_FILE=str(tmp_path / "url"), WANTED_COUNT="3")
    assert "http://x" == read(Wanted).wanted_url


def test_a_file_that_cannot_be_read_is_named(settings):
    settings(WANTED_URL_FILE="/nowhere/url")
    with pytest.raises(
        Misconfigured, match=r"^WANTED_URL_FILE: expected a readable file, got /nowhere/url \(No such"
    ):
        read(Wanted)


# -- JSON, refusals, logs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a":39.00}', '{"a":0.10}', '{"a":"Тест"}', '{"a":-1.50,"b":[1,null,true]}'])
def test_json_keeps_places_and_letters(text):
    assert text == exact_json.dumps(exact_json.loads(text))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "{", ""])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        exact_json.loads(text)


class Form(BaseModel):
    """A body."""

    count: int = 1
    password: int = 1
    email: int = 1
    name: str = ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"count": "x"}, "count: expected a valid integer, unable to parse string as an integer, got 'x'"),
        ({"count": None}, "count: expected a valid integer, got null"),
        ({"name": True}, "name: expected a valid string, got true"),
        ({"name": [1]}, "name: expected a valid string, got a list"),
        ({"name": {}}, "name: expected a valid string, got an object"),
        ({"password": "x"}, "password: expected a valid integer, unable to parse string as an integer, "
                            "got a value that is not shown"),
        ({"email": "x"}, "email: expected a valid integer, unable to parse string as an integer, "
                         "got a value that is not shown"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_what_was_expected_and_came(body, text):
    with pytest.raises(ValidationError) as problem:
        Form.model_validate(body)
    assert text == explain(problem.value, hide=("email",))


def test_a_log_line_is_one_json_object_with_its_trace(lines):
    try:
        raise KeyError("x")
    except KeyError:
        log("failed", level=logging.ERROR, trace=True, order="o1", nothing=None)
    line = json.loads(lines[0])
    assert ("failed", "error", "o1") == (line["message"], line["level"], line["order"])
    assert "KeyError" in line["trace"] and "nothing" not in line


# -- database -------------------------------------------------------------------------------------------------------


def terminate(admin: Rows, owner: str = "billing") -> None:
    admin.rows("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :owner", owner=owner)


def test_a_connection_that_was_ended_while_idle_is_replaced(billing):
    with database.transaction() as db:
        before = db.row("SELECT pg_backend_pid() AS pid").pid
    terminate(billing)
    with database.transaction() as db:
        assert before != db.row("SELECT pg_backend_pid() AS pid").pid


def test_a_connection_that_is_ended_in_the_middle_is_unavailable_and_nothing_was_done(billing):
    with pytest.raises(database.Unavailable), database.transaction() as db:
        db.rows("UPDATE clients SET balance = 5 WHERE username = 'user1'")
        terminate(billing)
        db.rows("SELECT 1")
    assert 1000 == balance(billing)
    with database.transaction() as db:
        assert 1 == db.row("SELECT 1 AS one").one


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO clients (username) VALUES ('user1')", database.Duplicate),
        ("UPDATE clients SET balance = -1 WHERE username = 'user1'", database.Refused),
        ("SELECT CAST('x' AS integer)", database.Refused),
        ("SELECT * FROM auth.users", database.Refused),
        ("SELECT pg_sleep(10)", database.Conflict),
    ],
)
def test_errors_are_sorted_by_what_a_caller_can_do(billing, sql, expected):
    with pytest.raises(expected), database.transaction() as db:
        db.rows("SET LOCAL statement_timeout = '100ms'")
        db.rows(sql)
    assert 1000 == balance(billing)


@pytest.mark.usefixtures("billing")
def test_a_duplicate_names_its_key():
    with pytest.raises(database.Duplicate) as problem, database.transaction() as db:
        db.rows("INSERT INTO clients (username) VALUES ('user1')")
    assert "clients_pkey" == problem.value.constraint


@pytest.mark.parametrize("url", ["postgresql://x@127.0.0.1:{port}/x", "postgresql://x@nohost.invalid/x"])
def test_a_server_that_is_not_there_is_unavailable(settings, url):
    settings(DATABASE_URL=url.format(port=free_port()))
    with pytest.raises(database.Unavailable, match="no connection to PostgreSQL at "), database.transaction():
        pass


@pytest.mark.parametrize("change", [("billing:", "nobody:"), ("/food", "/nofood")])
@pytest.mark.usefixtures("billing")
def test_a_server_that_does_not_let_us_in_is_unavailable(settings, change):
    settings(DATABASE_URL=read(DatabaseSettings).database_url.replace(*change))
    with pytest.raises(database.Unavailable), database.transaction():
        pass


def test_what_is_asked_for_after_the_commit_is_done_once(billing):
    done: list[bool] = []
    action = lambda: done.append(balance(billing) == 7)  # noqa: E731 - the same object twice
    with database.transaction() as db:
        db.after_commit(action)
        db.after_commit(action)
        db.rows("UPDATE clients SET balance = 7 WHERE username = 'user1'")
        assert [] == done
    assert [True] == done
    with database.transaction():
        pass
    assert [True] == done


def test_what_is_asked_for_after_the_commit_is_not_done_after_a_rollback(billing):
    done: list[int] = []
    with pytest.raises(KeyError), database.transaction() as db:
        db.after_commit(lambda: done.append(1))
        db.rows("UPDATE clients SET balance = 7 WHERE username = 'user1'")
        raise KeyError
    with database.transaction():
        pass
    assert ([], 1000) == (done, balance(billing))


# -- the step -------------------------------------------------------------------------------------------------------


def test_a_step_answers_with_the_event_that_comes_next(billing):
    sent = event("billing.withdraw", "s1")
    reply = send_binary(withdraw, sent)
    assert (200, "homework.arch.pay.confirmSale") == (reply.status, reply.headers["ce-type"])
    assert ("/billing/withdraw", "s1", "s1", sent["id"]) == tuple(
        reply.headers[f"ce-{name}"] for name in ("source", "subject", "correlationid", "causationid")
    )
    assert ("Ok", Decimal("76.09")) == (reply.json["payStatus"], reply.json["amount"])
    assert '"discount":88.40' in reply.text
    assert Decimal("923.91") == balance(billing)


@pytest.mark.usefixtures("billing")
def test_binary_structured_and_batched_are_answered_alike():
    sent = event("billing.withdraw", "s2")
    first, again = send_binary(withdraw, sent), send(withdraw, sent)
    batch = send(withdraw, sent, sent)
    assert (first.text, first.event) == (again.text, again.event)
    assert [first.headers["ce-id"]] * 2 == [one["id"] for one in batch.json]
    assert [first.json] * 2 == [one["data"] for one in batch.json]
    assert BATCH == batch.headers["Content-Type"]


def test_a_batch_is_done_whole(billing):
    reply = send(withdraw, *(event("billing.withdraw", f"b{n}", data_={"amount": 10}) for n in range(5)))
    assert [f"b{n}" for n in range(5)] == [one["subject"] for one in reply.json]
    assert 950 == balance(billing)


@pytest.mark.parametrize(
    "bad", [{"data_": {"amount": "x"}}, {"type": "homework.arch.pay.sale"}, {"subject": "other"}]
)
def test_a_batch_with_a_bad_event_is_not_done_at_all(billing, bad):
    good = [event("billing.withdraw", f"c{n}") for n in range(3)]
    assert 500 == send(withdraw, *good, event("billing.withdraw", "c9", **bad)).status
    assert 1000 == balance(billing)
    assert 0 == billing.value("SELECT count(*) FROM billing.inbox WHERE subject LIKE 'c_'")


def test_a_batch_whose_last_event_fails_at_work_is_not_done_at_all(billing):
    send(withdraw, event("billing.withdraw", "d1"))
    send(withdraw, event("billing.withdraw", "d2"))
    lost = {"data_": {"payStatus": "Ok", "storeStatus": "NotAvailable", "deliveryStatus": "Skipped"}}
    taken = balance(billing)
    assert (
        503 == send(refund, event("billing.refund", "d1", **lost), event("billing.refund", "nobody", **lost)).status
    )
    assert taken == balance(billing)
    assert 0 == billing.value("SELECT count(*) FROM billing.inbox WHERE subject = 'd1' AND function = 'refund'")


def test_an_event_twice_in_one_batch_has_one_effect(billing):
    sent = event("billing.withdraw", "t1")
    reply = send(withdraw, sent, event("billing.withdraw", "t2"), sent)
    assert ["t1", "t2", "t1"] == [one["subject"] for one in reply.json]
    assert reply.json[0] == reply.json[2]
    assert 1000 - 2 * Decimal("76.09") == balance(billing)


def test_two_equal_events_at_once_have_one_effect_and_one_answer(billing):
    for round in range(5):
        sent = event("billing.withdraw", f"u{round}", data_={"amount": 1})
        with ThreadPoolExecutor(4) as many:
            replies = [*many.map(lambda _, one=sent: send_binary(withdraw, one), range(4))]
        assert {200} == {reply.status for reply in replies}
        assert 1 == len({(reply.text, reply.event) for reply in replies})
        assert 999 - round == balance(billing)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"type": "homework.arch.pay.sale"},
            "type: expected homework.arch.billing.withdraw, got homework.arch.pay.sa",
        ),
        ({"subject": "other"}, "subject: expected w1 as in data, got other"),
        ({"data_": {"amount": "x"}}, "amount: expected"),
        ({"data_": {"quantity": None}}, "quantity: expected a valid integer, got null"),
        ({"data_": {"dishs": []}}, "dishs: "),
        ({"id": ""}, "id: expected printable ASCII without blanks, quotes or percent signs, got ''"),
        ({"source": "a b"}, "source: expected printable ASCII"),
        ({"specversion": "7"}, "expected a CloudEvent 1.0"),
    ],
)
@pytest.mark.usefixtures("billing")
def test_an_event_that_can_never_be_handled_is_500_never_with_a_reason(changes, text):
    reply = send(withdraw, event("billing.withdraw", "w1", **changes))
    assert (500, "never") == (reply.status, reply.headers["X-Retry"])
    assert text in reply.json["error"]


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        ("{", {"Content_Type": STRUCTURED}, "expected JSON, got something else"),
        ("[]", {"Content_Type": STRUCTURED}, "expected a CloudEvent as a JSON object, got list"),
        ("{}", {"Content_Type": BATCH}, "expected a JSON list of CloudEvents"),
        ("[5]", {"Content_Type": BATCH}, "expected a CloudEvent as a JSON object, got int"),
        ("{}", {"Content_Type": "application/json"}, "expected a CloudEvent: ce-specversion, ce-type, ce-source"),
        ("{", {"ce_specversion": "1.0", "ce_id": "1", "ce_type": "x", "ce_source": "x"}, "with JSON data"),
        ("[" * 100_000, {"Content_Type": STRUCTURED}, "expected JSON, got something else"),
        ("x" * (8 * 1024 * 1024 + 1), {"Content_Type": STRUCTURED}, ""),
    ],
)
@pytest.mark.usefixtures("billing")
def test_what_is_no_event_is_500_never_with_a_reason(body, headers, text):
    reply = ask(withdraw, body, **headers)
    assert (500, "never") == (reply.status, reply.headers["X-Retry"])
    assert text in reply.json["error"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.usefixtures("billing")
def test_only_a_post_brings_an_event(method):
    reply = ask(withdraw, method=method)
    assert (405, "POST", {"error": "expected a CloudEvent by POST"}) == (
        reply.status,
        reply.headers["Allow"],
        reply.json,
    )


def test_without_its_database_a_step_asks_for_a_pause(settings):
    settings(DATABASE_URL=f"postgresql://x@127.0.0.1:{free_port()}/x")
    reply = send(sale, event("pay.sale", "x1"))
    assert (503, "1") == (reply.status, reply.headers["Retry-After"])


@pytest.mark.usefixtures("billing")
def test_an_event_that_comes_too_early_is_to_come_again_without_a_pause():
    reply = send(refund, event("billing.refund", "early"))
    assert (503, False) == (reply.status, "Retry-After" in reply.headers)
    assert "no money was taken for order early yet" in reply.json["error"]


@pytest.mark.usefixtures("billing")
def test_a_bug_is_500_and_may_be_tried_again(lines):
    from functions.shared.database import Database
    from schemas.events import Sale

    @step
    def broken(order: Sale, _: Database) -> None:
        raise KeyError(order.order_id)

    reply = send(broken, event("pay.sale", "bug1"))
    assert (500, False) == (reply.status, "X-Retry" in reply.headers)
    assert "KeyError in /tests/test_kit: 'bug1'" == reply.json["error"]
    assert any("Traceback" in line for line in lines)


@pytest.mark.usefixtures("billing")
def test_a_step_after_which_nothing_follows_answers_204_again_and_again():
    from functions.shared.database import Database
    from schemas.events import Sale

    worked: list[str] = []

    @step
    def last(order: Sale, _: Database) -> None:
        worked.append(order.order_id)

    assert [204, 204] == [send(last, event("pay.sale", "last1")).status for _ in range(2)]
    assert (["last1"], "[]") == (worked, send(last, *[event("pay.sale", "last1")] * 2).text)


@pytest.mark.usefixtures("billing")
def test_the_log_tells_the_event_and_its_outcome_and_never_an_address(lines):
    send(withdraw, event("billing.withdraw", "l1"))
    send(withdraw, event("billing.withdraw", "l1"))
    first, again = map(json.loads, lines)
    assert {
        "function": "/billing/withdraw", "type": "homework.arch.billing.withdraw", "id": "billing.withdraw-l1",
        "order": "l1", "outcome": "handled",
    }.items() <= first.items()  # fmt: skip
    assert first["ms"] > 0 and "answered again" == again["outcome"]


def test_no_mail_address_gets_into_log_or_reason(become, lines):
    from functions.order.new_order import new_order

    become("order")
    reply = send(new_order, event("order.newOrder", "n1", data_={"email": "secret@example.org;x", "amount": "x"}))
    assert 500 == reply.status
    assert "secret" not in reply.text + "".join(lines)


@pytest.mark.usefixtures("billing")
def test_probes_are_answered_by_every_function(settings):
    assert [200, 200] == [ask(withdraw, method="GET", path=path).status for path in ("/_/health", "/_/ready")]
    settings(DATABASE_URL=f"postgresql://x@127.0.0.1:{free_port()}/x")
    assert [200, 503] == [ask(withdraw, method="GET", path=path).status for path in ("/_/health", "/_/ready")]
    request = Request(EnvironBuilder(path="/_/ready").get_environ())
    assert 200 == probes.answer(request, needs_database=False)[1]


# -- calling, clock -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "text"),
    [((500, b""), "answered 500"), ((200, b"x"), "did not answer with JSON"), (None, "be reached")],
)
def test_a_call_that_gave_no_good_answer_is_told(settings, answer, text):
    fake = FakeFunction(lambda _: (answer[0], {}, answer[1]))
    settings(FUNCTION_URL=fake.url + "/{name}")
    if answer:
        fake.start()
    with pytest.raises(calls.CallFailed, match=text):
        calls.call("some-function", {"amount": Decimal("1.50")})
    fake.stop()
    assert [("/some-function", b'{"amount":1.50}')] * len(fake.calls) == [(one.path, one.body) for one in fake.calls]


def test_an_address_may_tell_the_owner_apart(settings):
    settings(FUNCTION_URL="http://{owner}.food/function/{name}", FUNCTION_URLS="")
    assert "http://billing.food/function/billing-internal-add" == calls.address("billing-internal-add")


@pytest.mark.parametrize(
    ("problem", "status"),
    [(None, 200), (database.Unavailable("away"), 503), (database.Conflict("busy"), 503), (KeyError("bug"), 500)],
)
@pytest.mark.usefixtures("billing")
def test_a_scheduled_function_tells_how_it_went(problem, status):
    @scheduled()
    def tick() -> dict[str, int]:
        if problem:
            raise problem
        return {"sent": 1}

    reply = ask(tick)
    assert (status, status == 503) == (reply.status, "Retry-After" in reply.headers)
    assert [405, 200] == [ask(tick, method="GET", path=path).status for path in ("/", "/_/health")]


# -- outbox ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def broker(become: Callable, settings: Callable, admin: Rows) -> Iterator[FakeFunction]:
    """A broker that takes everything, and the order's empty outbox."""
    become("order")
    fake = FakeFunction(lambda _: (202, {}, b""))
    settings(BROKER_URL=fake.url)
    admin.rows('DELETE FROM "order".outbox')
    yield fake.start()
    fake.stop()


def put(*ids: str) -> None:
    with database.transaction() as db:
        for id in ids:
            made = events.make(type="homework.arch.x.y", source="/x", id=id, subject=id, causation=id, data={"n": 1})
            outbox.put(db, made)
        db.forget_actions()


def kept(admin: Rows) -> list[tuple[str, str | None]]:
    return [tuple(row) for row in admin.rows('SELECT id, refusal FROM "order".outbox ORDER BY position')]


def test_what_waits_is_sent_in_its_order_and_deleted(broker, admin):
    put("o1", "o2", "o3")
    put("o2")
    assert {"sent": 3} == ask(flush).json
    assert ["o1", "o2", "o3"] == [json.loads(call.body)["id"] for call in broker.calls]
    assert [] == kept(admin)


@pytest.mark.parametrize("status", [None, 503, 500, 404])
def test_while_the_broker_is_away_everything_stays(broker, admin, status):
    put("o1", "o2")
    if status is None:
        broker.stop()
    broker.behave = lambda _: (status, {}, b"")
    assert {"sent": 0} == ask(flush).json
    assert [("o1", None), ("o2", None)] == kept(admin)
    if status is None:
        broker.start()
    broker.behave = lambda _: (202, {}, b"")
    assert {"sent": 2} == ask(flush).json


def test_an_event_that_the_broker_refuses_is_marked_and_holds_up_no_other(broker, admin):
    broker.behave = lambda call: (400, {}, b"bad") if json.loads(call.body)["id"] == "o1" else (202, {}, b"")
    put("o1", "o2")
    assert {"sent": 1} == ask(flush).json
    assert [("o1", "400 bad")] == kept(admin)
    assert {"sent": 0} == ask(flush).json
    assert 2 == len(broker.calls)


@pytest.mark.usefixtures("admin")
def test_an_event_goes_on_in_the_trace_of_the_request_that_wrote_it(broker):
    came = traces.Trace(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=1")
    with traces.within(came):
        put("traced")
    put("untraced")
    assert {"sent": 2} == ask(flush).json
    traced, untraced = (call.headers for call in broker.calls)
    assert came == (traced["traceparent"], traced["tracestate"])
    assert "traceparent" not in untraced


@pytest.mark.usefixtures("admin")
def test_two_flushes_at_once_send_everything_once(broker):
    started, go_on = threading.Event(), threading.Event()

    def slowly(_: Any) -> tuple[int, dict, bytes]:
        started.set()
        go_on.wait(10)
        return 202, {}, b""

    broker.behave = slowly
    put("o1", "o2")
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, flush)
        started.wait(10)
        assert {"sent": 0} == ask(flush).json
        go_on.set()
        assert {"sent": 2} == first.result().json
    assert ["o1", "o2"] == [json.loads(call.body)["id"] for call in broker.calls]


def test_after_a_commit_the_outbox_is_flushed_without_the_clock(broker, admin):
    with database.transaction() as db:
        outbox.put(
            db, events.make(type="homework.arch.x.y", source="/x", id="n1", subject="n1", causation="n1", data={})
        )
    eventually(lambda: kept(admin) == [], "the outbox empty")
    assert 1 == len(broker.calls)


# -- purge and forget -----------------------------------------------------------------------------------------------

ORDER = """
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, status, redrive_at, pay_status,
                                store_status, delivery_status, ended_at, notified_at)
    VALUES (:id, :id, 'u', 'u@x.ru', '{}', 1, :status, now(), 'Ok', 'Ok', 'Ok',
            now() - CAST(CAST(:ended AS text) AS interval), now() - CAST(CAST(:notified AS text) AS interval))
    ON CONFLICT DO NOTHING
"""
HANDLED = """INSERT INTO "order".inbox (function, source, id, subject) VALUES ('f', 's', :id, :id)
             ON CONFLICT DO NOTHING"""


@pytest.fixture
def old_orders(become: Callable, settings: Callable, admin: Rows) -> Iterator[FakeFunction]:
    """Orders of each kind, and the other owners' functions that forget."""
    become("order")
    admin.rows('DELETE FROM "order".orders')
    for id, status, ended, notified in (
        ("old", "Completed", "40 days", "40 days"),
        ("young", "Completed", "1 day", "1 day"),
        ("untold", "Completed", "40 days", None),
        ("open", "Created", None, None),
    ):
        admin.rows(ORDER, id=id, status=status, ended=ended, notified=notified)
        admin.rows(HANDLED, id=id)
    fake = FakeFunction(lambda _: (200, {"Content-Type": "application/json"}, b'{"status":"OK"}')).start()
    settings(FUNCTION_URL=fake.url + "/{name}")
    yield fake
    fake.stop()


def remembered(admin: Rows) -> set[str]:
    return {row.subject for row in admin.rows("""SELECT subject FROM "order".inbox WHERE function = 'f'""")}


def test_the_purge_forgets_old_settled_orders_and_no_others(old_orders, admin):
    assert {"orders": 1} == ask(purge).json
    assert {"young", "untold", "open"} == remembered(admin)
    owners = ("pay", "billing", "store", "delivery", "notification")
    assert [(f"/{owner}-forget", ["old"]) for owner in owners] == [
        (call.path, json.loads(call.body)) for call in old_orders.calls
    ]
    assert {"orders": 0} == ask(purge).json


def test_while_an_owner_is_away_nothing_counts_as_purged(old_orders, admin):
    old_orders.behave = lambda call: (503 if "store" in call.path else 200, {}, b"{}")
    assert 500 == ask(purge).status
    assert "old" in remembered(admin)
    old_orders.behave = lambda _: (200, {}, b"{}")
    assert {"orders": 1} == ask(purge).json


def test_a_duplicate_that_comes_after_the_purge_changes_nothing(billing):
    sent = event("billing.withdraw", "p1")
    first = send_binary(withdraw, sent)
    assert {"status": "OK"} == ask(forget, '["p1"]', Content_Type="application/json", path="/internal/forget").json
    assert 0 == billing.value("SELECT count(*) FROM billing.inbox WHERE subject = 'p1'")
    late = send_binary(withdraw, sent)
    assert (first.text, first.event) == (late.text, late.event)
    assert Decimal("923.91") == balance(billing)
