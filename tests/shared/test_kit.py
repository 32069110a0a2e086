"""What every function stands on: settings, database, the step's promise, the outbox."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from cloudevents.http import CloudEvent
from pydantic import BaseModel, Field, ValidationError

from functions.billing.refund import refund
from functions.billing.withdraw import withdraw
from functions.order import outbox
from functions.order.broker import AT_A_TIME
from functions.order.flush import flush
from functions.order.notice import notice_event
from functions.order.saga_start import event_id, start_event
from functions.shared import call as calls
from functions.shared import database, exact_json
from functions.shared.cron import scheduled
from functions.shared.decisions import Decisions
from functions.shared.request import Headers, Request
from functions.shared.settings import DatabaseSettings, Misconfigured, Settings, read
from functions.shared.step import step
from functions.shared.telemetry import probes, traces
from functions.shared.telemetry.logs import log
from functions.shared.validation_errors import explain
from schemas.events import Sale
from tests.fakes import FakeFunction
from tests.kit import BATCH, STRUCTURED, Reply, ask, event, send, send_binary, timeless
from tests.system import Rows, eventually
from tools.local.processes import free_port


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
    with pytest.raises(Misconfigured) as raised:
        read(Wanted)
    first, second = str(raised.value).split("; ")
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
    assert 0 == billing.value("SELECT count(*) FROM billing.charges WHERE order_id LIKE 'c_'")


def test_a_batch_whose_last_event_fails_at_work_is_not_done_at_all(billing):
    send(withdraw, event("billing.withdraw", "d1"))
    send(withdraw, event("billing.withdraw", "d2"))
    lost = {"data_": {"payStatus": "Ok", "storeStatus": "NotAvailable", "deliveryStatus": "Skipped"}}
    taken = balance(billing)
    assert (
        503 == send(refund, event("billing.refund", "d1", **lost), event("billing.refund", "nobody", **lost)).status
    )
    assert taken == balance(billing)
    assert 2 == billing.value("SELECT count(*) FROM billing.charges WHERE order_id LIKE 'd_' AND refunded_at IS NULL")


def test_an_event_twice_in_one_batch_has_one_effect(billing):
    sent = event("billing.withdraw", "t1")
    reply = send(withdraw, sent, event("billing.withdraw", "t2"), sent)
    assert ["t1", "t2", "t1"] == [one["subject"] for one in reply.json]
    assert timeless(reply.json[0]) == timeless(reply.json[2])
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
    reply = send(withdraw, event("billing.withdraw", "x1"))
    assert (503, "1") == (reply.status, reply.headers["Retry-After"])


@pytest.mark.usefixtures("billing")
def test_an_event_that_comes_too_early_is_to_come_again_without_a_pause():
    reply = send(refund, event("billing.refund", "early"))
    assert (503, False) == (reply.status, "Retry-After" in reply.headers)
    assert "no money was taken for order early yet" in reply.json["error"]


@pytest.mark.usefixtures("billing")
def test_a_bug_is_500_and_may_be_tried_again(lines):
    @step
    def broken(order: Sale, _: Decisions) -> None:
        raise KeyError(order.order_id)

    reply = send(broken, event("pay.sale", "bug1"))
    assert (500, False) == (reply.status, "X-Retry" in reply.headers)
    assert "KeyError in /shared/test_kit: 'bug1'" == reply.json["error"]
    assert any("Traceback" in line for line in lines)


@pytest.mark.usefixtures("billing")
def test_a_step_after_which_nothing_follows_answers_204_again_and_again():
    @step
    def last(order: Sale, db: Decisions) -> None:
        db.row("SELECT CAST(:order AS text)", order=order.order_id)

    assert [204, 204] == [send(last, event("pay.sale", "last1")).status for _ in range(2)]
    assert "[]" == send(last, *[event("pay.sale", "last1")] * 2).text


@pytest.mark.usefixtures("billing")
def test_the_log_tells_the_event_and_its_outcome_and_never_an_address(lines):
    send(withdraw, event("billing.withdraw", "l1"))
    send(withdraw, event("billing.withdraw", "l1"))
    first, again = map(json.loads, lines)
    assert {
        "function": "/billing/withdraw", "type": "homework.arch.billing.withdraw", "id": "billing.withdraw-l1",
        "order": "l1", "outcome": "handled",
    }.items() <= first.items()  # fmt: skip
    assert first["ms"] > 0 and "handled" == again["outcome"]


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
    assert 200 == probes.answer("/_/ready", needs_database=False)[1]


@pytest.mark.usefixtures("billing")
def test_a_function_is_ready_when_its_database_answers_and_not_only_took_its_connection():
    def no_answer(*_: Any) -> None:
        raise database.Unavailable("no answer")

    assert 200 == ask(withdraw, method="GET", path="/_/ready").status
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database.Database, "together", no_answer)
        assert 503 == ask(withdraw, method="GET", path="/_/ready").status


@pytest.mark.usefixtures("billing")
def test_a_request_of_our_server_is_answered_as_the_frameworks_is():
    sent = event("billing.withdraw", "r1")
    headers = Headers.of([("Content-Type", STRUCTURED)])
    ours = Reply(withdraw(Request("POST", "/", headers, exact_json.dumps(sent).encode())))
    theirs = send(withdraw, sent)
    assert (200, ours.text, ours.event) == (theirs.status, theirs.text, theirs.event)


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


ORDER = """
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, status, redrive_at, reason)
    VALUES (:id, :id, 'user1', 'user1@example.org', :request, 76.09, 'Accepted', now(), 'told')
    ON CONFLICT (order_id) DO UPDATE SET status = 'Accepted'
    RETURNING order_id, msg_id, username, email, request, reason
"""
REQUEST = {name: event("pay.sale", "x")["data"][name] for name in (
    "amount", "discount", "quantity", "userName", "dishs", "deliveryDate", "deliveryHour")}  # fmt: skip


def order(admin: Rows, id: str) -> Any:
    """The row of an accepted order."""
    return admin.row(ORDER, id=id, request=exact_json.dumps(REQUEST))


def opened(admin: Rows, *ids: str) -> list[CloudEvent]:
    """The first events of new orders."""
    return [start_event(order(admin, id)) for id in ids]


def put(*made: CloudEvent) -> None:
    """Write that these are to be sent, and end before one is."""
    with database.transaction() as db:
        for one in made:
            outbox.put(db, one)
        db.forget_actions()


def sent_to(broker: FakeFunction) -> list[dict[str, Any]]:
    """The events that the broker was asked to take, whether alone or as a batch."""
    bodies = [exact_json.loads(call.body) for call in broker.calls]
    return [one for body in bodies for one in (body if isinstance(body, list) else [body])]


def subjects(broker: FakeFunction) -> list[str]:
    return [one["subject"] for one in sent_to(broker)]


def kept(admin: Rows) -> list[tuple[str, str | None]]:
    """What is in the outbox: of which order, and why it was refused."""
    return [tuple(row) for row in admin.rows('SELECT order_id, refusal FROM "order".outbox ORDER BY position')]


@pytest.fixture
def at_once(broker: FakeFunction, settings: Any) -> FakeFunction:
    """The flush takes up whatever waits, however young."""
    settings(ORDER_OUTBOX_AGE_SECONDS="0")
    return broker


def test_what_waits_is_sent_in_its_order_and_deleted(at_once, admin):
    put(*opened(admin, "o1", "o2", "o3"))
    put(*opened(admin, "o2"))
    assert {"sent": 3} == ask(flush).json
    assert ["o1", "o2", "o3"] == subjects(at_once)
    assert [] == kept(admin)


def test_a_row_of_the_version_before_with_a_whole_event_is_sent_as_it_is(at_once, admin):
    whole = event("notification.email", "o9", id="whole")
    insert = 'INSERT INTO "order".outbox (id, event, traceparent, tracestate) VALUES (:id, :event, NULL, NULL)'
    admin.rows(insert, id="whole", event=exact_json.dumps(whole))
    put(*opened(admin, "o1"))
    assert {"sent": 2} == ask(flush).json
    assert [whole["data"], "o1"] == [sent_to(at_once)[0]["data"], subjects(at_once)[1]]
    assert [] == kept(admin)


def test_many_events_are_one_request(at_once, admin):
    put(*opened(admin, "o1", "o2", "o3"))
    ask(flush)
    assert [BATCH] == [call.headers["content-type"] for call in at_once.calls]


def test_the_event_is_made_from_its_order_when_it_is_sent(at_once, admin):
    (made,) = opened(admin, "o1")
    put(made, notice_event(order(admin, "o1")))
    ask(flush)
    first, notice = sent_to(at_once)
    assert (made["id"], "homework.arch.order.newOrder") == (first["id"], first["type"])
    assert exact_json.dumps(made.data) == exact_json.dumps(first["data"])
    assert ("homework.arch.notification.email", "told") == (notice["type"], notice["data"]["message"])


@pytest.mark.parametrize("status", [None, 503, 500, 404])
def test_while_the_broker_is_away_everything_stays(at_once, admin, status):
    put(*opened(admin, "o1", "o2"))
    if status is None:
        at_once.stop()
    at_once.behave = lambda _: (status, {}, b"")
    assert {"sent": 0} == ask(flush).json
    assert [("o1", None), ("o2", None)] == kept(admin)
    if status is None:
        at_once.start()
    at_once.behave = lambda _: (202, {}, b"")
    assert {"sent": 2} == ask(flush).json


def test_an_event_that_the_broker_refuses_is_marked_and_holds_up_no_other(at_once, admin):
    at_once.behave = lambda call: (400, {}, b"bad") if event_id("o1").encode() in call.body else (202, {}, b"")
    put(*opened(admin, "o1", "o2"))
    assert {"sent": 1} == ask(flush).json
    assert [("o1", "400 bad")] == kept(admin)
    calls = len(at_once.calls)
    assert {"sent": 0} == ask(flush).json
    assert calls == len(at_once.calls)


def test_a_broker_that_takes_no_batches_is_sent_single_events_from_then_on(at_once, admin):
    at_once.behave = lambda call: (415 if call.is_batch else 202, {}, b"")
    put(*opened(admin, "o1", "o2"))
    assert {"sent": 2} == ask(flush).json
    put(*opened(admin, "o3", "o4"))
    assert {"sent": 2} == ask(flush).json
    assert [BATCH, *[STRUCTURED] * 4] == [call.headers["content-type"] for call in at_once.calls]


def test_a_broker_that_is_away_is_not_asked_for_each_event(at_once, admin):
    at_once.behave = lambda call: (415 if call.is_batch else 503, {}, b"")
    put(*opened(admin, *(f"o{n}" for n in range(20))))
    assert {"sent": 0} == ask(flush).json
    assert 1 + AT_A_TIME == len(at_once.calls)
    assert 20 == len(kept(admin))


def test_with_a_slow_broker_what_is_confirmed_in_time_is_kept_as_sent(at_once, admin, monkeypatch):
    monkeypatch.setattr(outbox.broker, "LONGEST", 0.01)
    monkeypatch.setattr(outbox.broker._Known, "takes_batches", False)
    put(*opened(admin, *(f"o{n:02}" for n in range(20))))
    slow = threading.Event()
    at_once.behave = lambda _: (slow.wait(0.02) or 202, {}, b"")
    assert AT_A_TIME == outbox._flush_some(age=0)
    assert [f"o{n:02}" for n in range(AT_A_TIME, 20)] == [id for id, _ in kept(admin)]


def test_a_refusal_beside_an_outage_leaves_the_outage_known(broker, admin):
    first, second = opened(admin, "r1", "r2")
    answers = {first["id"]: (415, {}, b"no"), second["id"]: (503, {}, b"")}
    broker.behave = lambda call: (415, {}, b"") if call.is_batch else answers[json.loads(call.body)["id"]]
    taken, there = outbox._send_now([outbox.Outgoing(first), outbox.Outgoing(second)])
    assert ([], False) == (taken, there)


def test_an_event_goes_on_in_the_trace_of_the_request_that_wrote_it(at_once, admin):
    came = traces.Trace(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=1")
    with traces.within(came):
        put(*opened(admin, "traced"))
    put(*opened(admin, "untraced"))
    assert {"sent": 2} == ask(flush).json
    traced, untraced = sent_to(at_once)
    assert came == (traced["traceparent"], traced["tracestate"])
    assert "traceparent" not in untraced


def test_an_event_alone_has_its_trace_in_the_headers(at_once, admin):
    came = traces.Trace(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=1")
    with traces.within(came):
        put(*opened(admin, "traced"))
    assert {"sent": 1} == ask(flush).json
    assert came == tuple(at_once.calls[0].headers[name] for name in traces.NAMES)


def test_two_flushes_at_once_send_everything_once(at_once, admin):
    started, go_on = threading.Event(), threading.Event()

    def slowly(_: Any) -> tuple[int, dict, bytes]:
        started.set()
        go_on.wait(10)
        return 202, {}, b""

    at_once.behave = slowly
    put(*opened(admin, "o1", "o2"))
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, flush)
        started.wait(10)
        assert {"sent": 0} == ask(flush).json
        go_on.set()
        assert {"sent": 2} == first.result().json
    assert ["o1", "o2"] == subjects(at_once)


def test_after_a_commit_the_event_is_sent_without_the_clock(broker, admin):
    (made,) = opened(admin, "n1")
    with database.transaction() as db:
        outbox.put(db, made)
    eventually(lambda: kept(admin) == [], "the outbox empty")
    assert ["n1"] == subjects(broker)


def test_after_a_rollback_no_event_is_sent(broker, admin):
    made, later = opened(admin, "n1", "n2")
    with pytest.raises(KeyError), database.transaction() as db:
        outbox.put(db, made)
        raise KeyError
    with database.transaction() as db:
        outbox.put(db, later)
    eventually(lambda: subjects(broker) == ["n2"], "the other event alone to be sent")


def test_the_flush_leaves_young_rows_to_whoever_has_written_them(broker, admin):
    put(*opened(admin, "young", "old"))
    admin.rows("""UPDATE "order".outbox SET written_at = now() - interval '3 seconds' WHERE order_id = 'old'""")
    assert {"sent": 1} == ask(flush).json
    assert ["old"] == subjects(broker)
    assert [("young", None)] == kept(admin)


def test_when_the_broker_is_back_what_was_left_is_sent_with_the_next_event(broker, admin):
    broker.behave = lambda _: (503, {}, b"")
    first, second = opened(admin, "n1", "n2")
    with database.transaction() as db:
        outbox.put(db, first)
    broker.wait_for(1)
    assert [("n1", None)] == kept(admin)
    broker.behave = lambda _: (202, {}, b"")
    with database.transaction() as db:
        outbox.put(db, second)
    eventually(lambda: kept(admin) == [], "the outbox empty")
    assert ["n1", "n2", "n1"] == subjects(broker)
