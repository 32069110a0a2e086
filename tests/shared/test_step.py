"""The step: one event in, the next one out, with every form of event and every kind of trouble."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from functions.billing.refund import refund
from functions.billing.withdraw import withdraw
from functions.shared import database, exact_json
from functions.shared.decisions import Decisions
from functions.shared.request import Headers, Request
from functions.shared.step import step
from functions.shared.telemetry import probes
from schemas.events import Sale
from tests.kit import BATCH, STRUCTURED, Reply, ask, balance, event, send, send_binary, timeless
from tests.system import OURS
from tools.local.processes import free_port


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
        ({"data_": {"quantity": None}}, "quantity: expected a whole number, got null"),
        ({"data_": {"dishs": []}}, "dishs: "),
        ({"id": ""}, "id: expected printable ASCII without blanks, quotes or percent signs, got ''"),
        ({"source": "a b"}, "source: expected printable ASCII"),
        ({"specversion": "7"}, "expected a CloudEvent 1.0"),
        ({"specversion": {}}, "specversion: expected a text, a whole number, true or false"),
        ({"note": [1]}, "note: expected a text, a whole number, true or false"),
        ({"id": 5}, "id: expected printable ASCII without blanks, quotes or percent signs, got 5"),
        ({"type": None}, "type: expected printable ASCII"),
        ({"traceparent": 7, "subject": 1}, "subject: expected w1 as in data, got 1"),
        ({"data_": {"quantity": Decimal("1e399")}}, "quantity: expected less than or equal to 10000"),
        ({"data_": {"dishs": [{}] * 101}}, "dishs: expected 1 to 100 dishes, got a list"),
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
        ("x" * (1024 * 1024 + 1), {"Content_Type": STRUCTURED}, "the body is larger than a step takes"),
        ("[" + ",".join(["{}"] * 1001) + "]", {"Content_Type": BATCH}, "expected at most 1000 events in a batch"),
        ('{"data":1e500000}', {"Content_Type": STRUCTURED}, "expected JSON, got something else"),
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
    assert "KeyError in /shared/test_step: 'bug1'" == reply.json["error"]
    assert any("Traceback" in line for line in lines)


@pytest.mark.usefixtures("billing")
def test_a_step_after_which_nothing_follows_answers_204_again_and_again():
    @step
    def last(order: Sale, db: Decisions) -> None:
        db.row("SELECT CAST(:order AS text)", order=order.order_id)

    assert [204, 204] == [send(last, event("pay.sale", "last1")).status for _ in range(2)]
    assert "[]" == send(last, *[event("pay.sale", "last1")] * 2).text


@pytest.mark.usefixtures("billing")
def test_the_log_has_the_event_and_its_outcome_and_never_an_address(lines):
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
        patch.setattr(database.Connection, "together", no_answer)
        assert 503 == ask(withdraw, method="GET", path="/_/ready").status


@pytest.mark.usefixtures("billing")
def test_a_request_of_our_server_is_answered_as_the_frameworks_is():
    sent = event("billing.withdraw", "r1")
    headers = Headers.of([("Content-Type", STRUCTURED), *OURS.items()])
    ours = Reply(withdraw(Request("POST", "/", headers, exact_json.dumps(sent).encode())))
    theirs = send(withdraw, sent)
    assert (200, ours.text, ours.event) == (theirs.status, theirs.text, theirs.event)
