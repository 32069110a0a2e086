"""The sink of all dead letters: keeps whatever comes, with its story, and says so when it cannot."""

import base64

import pytest

from functions.shared import exact_json
from triggers.wire import from_http

BATCH = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"
EVENT = {"ce-specversion": "1.0", "ce-type": "any.type", "ce-source": "/anybody", "Content-Type": "application/json"}
UNREACHABLE = {"DATABASE_URL": "postgresql://ops:secret@127.0.0.1:9/food"}


@pytest.fixture
def sink(started_alone):
    return started_alone("ops", "dead_letter")


@pytest.fixture
def kept(system):
    """What is kept of an event."""
    return lambda id: system.sql.row("SELECT * FROM ops.dead_letters WHERE id = :id", id=id)


def test_an_event_is_kept_with_function_reason_and_attempts(sink, kept):
    given = {
        "ce-knativeerrordest": "pay-sale",
        "ce-knativeerrorcode": "500",
        "ce-knativeerrordata": base64.b64encode("нет".encode()).decode(),
        "ce-deliveryattempts": "10",
    }
    answer = sink.post("/", data='{"amount":39.00}', headers=EVENT | given | {"ce-id": "dl-1", "ce-subject": "o-1"})
    dead_letter = kept("dl-1")

    assert (204, b"") == (answer.status_code, answer.data)
    assert ("pay-sale", "500 нет") == (dead_letter.function, dead_letter.reason)
    assert (10, 1) == (dead_letter.attempts, dead_letter.times)
    assert ("any.type", "o-1") == (dead_letter.type, dead_letter.subject)
    assert '"data":{"amount":39.00}' in dead_letter.event
    assert "knativeerror" not in dead_letter.event


@pytest.mark.parametrize(
    ("code", "data", "reason"),
    [
        ("500", "500 no", "500 no"),
        ("503", "no", "503 no"),
        ("-1", "", "no answer"),
        ("-1", "-1 refused", "-1 refused"),
        (None, "no", "no answer no"),
    ],
)
def test_the_reason_has_the_code_once(sink, kept, code, data, reason):
    given = {"ce-knativeerrorcode": code, "ce-knativeerrordata": base64.b64encode(data.encode()).decode()}
    headers = {name: value for name, value in given.items() if value} | {"ce-id": f"dl-{reason.replace(' ', '-')}"}
    assert 204 == sink.post("/", data="{}", headers=EVENT | headers).status_code
    assert reason == kept(headers["ce-id"]).reason


@pytest.mark.parametrize(
    ("given", "function"),
    [
        ("pay-sale", "pay-sale"),
        ("http://pay-sale.food.svc.cluster.local", "pay-sale"),
        ("http://pay-sale.food.svc.cluster.local/", "pay-sale"),
        ("http://gateway.openfaas:8080/function/pay-sale", "pay-sale"),
        ("http://gateway.openfaas:8080/function/pay-sale.openfaas-fn", "pay-sale"),
        ("http://127.0.0.1:8100", "http://127.0.0.1:8100"),
        ("http://[::1]:8100", "http://[::1]:8100"),
        ("http://[broken", "http://[broken"),
        ("http://somebody.example.org/a/path", "http://somebody.example.org/a/path"),
        (None, "unknown"),
    ],
)
def test_the_function_is_known_by_its_name_or_by_its_address(sink, kept, given, function):
    id = "dl-at-" + base64.urlsafe_b64encode((given or "").encode()).decode().rstrip("=")
    destination = {"ce-knativeerrordest": given} if given else {}
    assert 204 == sink.post("/", data="{}", headers=EVENT | destination | {"ce-id": id}).status_code
    assert function == kept(id).function


def test_the_same_event_again_is_counted_and_no_longer_replayed(sink, kept, system):
    headers = EVENT | {"ce-id": "dl-2"}
    sink.post("/", data="{}", headers=headers)
    system.sql.rows("UPDATE ops.dead_letters SET replayed_at = now() WHERE id = 'dl-2'")
    sink.post("/", data="{}", headers=headers | {"ce-deliveryattempts": "many"})

    assert (2, None, 1) == (kept("dl-2").times, kept("dl-2").replayed_at, kept("dl-2").attempts)


BYTES = {
    "broken": b"{broken",
    "empty": b"",
    "spaces": b'{"a" :  1.50}',
    "escaped NUL": rb'{"a":"\u0000","b":"\\u0000"}',
    "NUL": b"a\0b",
    "half a pair": rb'{"a":"\ud800"}',
    "a number beyond": b'{"a":1e99999999999999999999}',
    "many digits": b'{"a":1e500000}',
    "deep": b"[" * 100_000,
    "no UTF-8": b'"\xff\xfe"',
    "every byte": bytes(range(256)),
    "letters": '{"a":"Ж"}'.encode(),
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("type", ["application/json", "text/plain", "application/octet-stream"])
def test_whatever_the_bytes_are_they_are_kept_and_go_out_again_as_they_were(sink, kept, data, type):
    id = f"dl-bytes-{hash((data, type))}"
    assert 204 == sink.post("/", data=data, headers=EVENT | {"ce-id": id, "Content-Type": type}).status_code
    replayed = from_http({"Content-Type": STRUCTURED}, kept(id).event.encode())
    assert type == replayed.content_type
    assert replayed.data == data or exact_json.loads(replayed.data) == exact_json.loads(data)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": STRUCTURED}, rb'{"specversion":"1.0","id":"a","source":"s","type":"t","data":"\ud800"}'),
        ({"Content-Type": STRUCTURED}, b"{"),
        ({"Content-Type": STRUCTURED}, b'{"id":"a b"}'),
        (EVENT | {"ce-id": "a b"}, bytes(range(256))),
        ({}, b""),
    ],
)
def test_what_is_no_event_is_kept_inside_one(sink, system, headers, body):
    assert 204 == sink.post("/", data=body, headers=headers | {"ce-knativeerrordest": "pay-sale"}).status_code
    dead_letter = system.sql.row("SELECT * FROM ops.dead_letters ORDER BY last_at DESC LIMIT 1")
    assert ("pay-sale", "homework.arch.ops.unreadable") == (dead_letter.function, dead_letter.type)
    assert "no CloudEvent: " in dead_letter.reason
    assert body == from_http({"Content-Type": STRUCTURED}, dead_letter.event.encode()).data


@pytest.mark.parametrize("body", ["{", "{}", "[5]", '[{"specversion":"1.0","type":"t","source":"/s","id":"a b"}]'])
def test_a_batch_that_cannot_be_read_is_to_be_sent_one_by_one(sink, body):
    assert 500 == sink.post("/", data=body, headers={"Content-Type": BATCH}).status_code


def test_attributes_of_any_kind_and_length_are_kept(sink, kept):
    story = {"knativeerrordest": "x" * 2700, "knativeerrordata": "a\0b" + "y" * 2500}
    story |= {"subject": "a\0b", "note": "Ж\0"}
    event = {"specversion": "1.0", "type": "t" * 512, "source": "/" + "s" * 511, "id": "d" * 512, **story, "data": 1}
    assert 204 == sink.post("/", data=exact_json.dumps(event), headers={"Content-Type": STRUCTURED}).status_code
    dead_letter = kept("d" * 512)
    assert ("x" * 255, "ab", True) == (dead_letter.function, dead_letter.subject, "ab" in dead_letter.reason)
    assert "Ж\0" == exact_json.loads(dead_letter.event)["note"]


def test_attributes_in_headers_are_kept_decoded(sink, kept):
    headers = EVENT | {"ce-id": "dl-8", "ce-note": "%D0%96%00 100%25"}
    assert 204 == sink.post("/", data="1", headers=headers).status_code
    assert "Ж\0 100%" == exact_json.loads(kept("dl-8").event)["note"]


@pytest.mark.parametrize("data", ["нет", "no", "a===", "%ff"])
def test_a_reason_that_is_no_base64_is_taken_as_it_is(sink, kept, data):
    id = f"dl-plain-{len(data.encode())}"
    event = {"specversion": "1.0", "type": "t", "source": "/s", "id": id, "knativeerrordata": data}
    assert 204 == sink.post("/", data=exact_json.dumps(event), headers={"Content-Type": STRUCTURED}).status_code
    assert kept(id).reason.endswith(data) or data == "no"


def test_data_in_base64_are_kept(sink, kept):
    event = '{"specversion":"1.0","type":"t","source":"/s","id":"dl-9","data_base64":"AP8="}'
    assert 204 == sink.post("/", data=event, headers={"Content-Type": STRUCTURED}).status_code
    assert b"\0\xff" == from_http({"Content-Type": STRUCTURED}, kept("dl-9").event.encode()).data


def test_a_batch_is_kept_whole(sink, kept):
    events = [f'{{"specversion":"1.0","type":"t","source":"/s","id":"dl-{n}","data":1}}' for n in (4, 5)]
    answer = sink.post("/", data=f"[{','.join(events)}]", headers={"Content-Type": BATCH})

    assert 204 == answer.status_code
    assert kept("dl-4") and kept("dl-5")


def test_without_a_database_the_sender_keeps_it(started_alone):
    sink = started_alone("ops", "dead_letter", **UNREACHABLE)
    answer = sink.post("/", data="{}", headers=EVENT | {"ce-id": "dl-6"})

    assert (503, "1") == (answer.status_code, answer.headers["Retry-After"])


def test_it_answers_probes_and_takes_nothing_but_posts(sink):
    assert 200 == sink.get("/_/health").status_code
    assert 200 == sink.get("/_/ready").status_code
    assert (405, "POST") == (sink.get("/").status_code, sink.get("/").headers["Allow"])
