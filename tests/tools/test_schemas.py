"""The documents say what the code does."""

import json

import pytest
from cloudevents.http import from_json
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from functions.order.saga_start import order_id
from functions.shared import exact_json
from schemas.events import ALL, PREFIX
from tools.declared import BY_OUTBOX, by_name, declared, senders, steps
from tools.generate import schemas
from triggers.stack import by_event

TYPES = list(ALL)


def document(name):
    return exact_json.loads((schemas.SCHEMAS / name).read_text("utf-8"))


def schema(event_type):
    return document(f"events/{event_type}.schema.json")


def test_no_document_is_stale():
    assert [path.name for path in schemas.stale()] == [], "run make generate"


def test_a_document_that_says_something_else_is_called_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(schemas, "SCHEMAS", tmp_path)
    schemas.write()
    (tmp_path / "openapi.json").write_text("{}")
    (tmp_path / "events" / "pay.gone.example.json").write_text("{}")

    assert [path.name for path in schemas.stale()] == ["pay.gone.example.json", "openapi.json"]


def test_writing_repairs_what_is_stale_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(schemas, "SCHEMAS", tmp_path)
    schemas.write()
    (tmp_path / "asyncapi.json").unlink()

    assert [path.name for path in schemas.write()] == ["asyncapi.json"]
    assert schemas.stale() == []


@pytest.mark.parametrize("event_type", TYPES)
def test_a_schema_is_valid_json_schema(event_type):
    Draft202012Validator.check_schema(schema(event_type))


@pytest.mark.parametrize("event_type", TYPES)
def test_an_example_fits_its_schema(event_type):
    example = document(f"events/{event_type}.example.json")["data"]

    assert list(Draft202012Validator(schema(event_type)).iter_errors(example)) == []


@pytest.mark.parametrize("event_type", TYPES)
def test_an_example_comes_back_from_its_model_unchanged(event_type):
    example = document(f"events/{event_type}.example.json")["data"]
    model = ALL[event_type]

    assert exact_json.loads(exact_json.dumps(model.model_validate(example).model_dump(by_alias=True))) == example


@pytest.mark.parametrize("event_type", TYPES)
def test_an_example_is_a_cloudevent_about_its_order(event_type):
    event = from_json((schemas.SCHEMAS / f"events/{event_type}.example.json").read_text("utf-8"))

    assert event["type"] == PREFIX + event_type
    assert event["subject"] == event["correlationid"] == event.data["orderId"]
    assert event["datacontenttype"] == "application/json"
    assert event["causationid"]


@pytest.mark.parametrize("event_type", [short for short in TYPES if short not in BY_OUTBOX])
def test_an_example_has_the_id_that_its_step_would_give_it(event_type):
    example = schemas.example_event(event_type)
    sender = next(entry for entry in steps() if entry.contract.source == example["source"])
    cause = schemas.example_event(sender.contract.takes.short_type)
    cause["id"] = example["causationid"]
    data = ALL[event_type].model_validate(ALL[event_type].example)

    assert sender.contract.follow(cause, data)["id"] == example["id"]


def test_examples_are_orders_of_one_client():
    orders = {model.example["orderId"] for model in ALL.values()}

    assert orders == {order_id("user1", f"order-{number}") for number in (1, 2, 3)}


def test_limits_of_numbers_are_in_the_schema():
    dish = schema("pay.sale")["$defs"]["Dish"]["properties"]["menuId"]

    assert dish == {"minimum": 1, "maximum": 2147483647, "type": "integer"}


# AsyncAPI


def test_every_event_has_a_channel():
    channels = document("asyncapi.json")["channels"]

    assert {name: channel["address"] for name, channel in channels.items()} == {name: PREFIX + name for name in ALL}


def test_every_step_receives_its_event_and_sends_what_it_gives():
    operations = document("asyncapi.json")["operations"]

    for step in steps():
        name = step.function.name
        assert operations[f"{name}.receive.{step.contract.takes.short_type}"]["action"] == "receive"
        for model in step.contract.gives:
            assert operations[f"{name}.send.{model.short_type}"]["action"] == "send"


def test_every_reference_leads_somewhere():
    for name in ("asyncapi.json", "openapi.json"):
        whole = document(name)
        for reference in references(whole):
            assert resolved(whole, reference), f"{name}: {reference}"


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def resolved(whole, reference):
    for part in reference.removeprefix("#/").split("/"):
        whole = whole[part]
    return whole


def test_every_event_that_is_given_has_a_step_that_takes_it():
    taken = {step.contract.takes for step in steps()}

    assert {model for step in steps() for model in step.contract.gives} <= taken == set(ALL.values())


def test_every_event_has_a_sender():
    assert all(senders(event_type) for event_type in TYPES)


def test_an_event_is_taken_by_the_function_of_stack_yml():
    assert [step.function for step in steps()] == [by_event(event_type) for event_type in TYPES]


def test_the_outbox_is_the_sender_of_what_is_no_reply():
    from functions.order import notice, saga_start

    sources = {
        f"/{by_name(first).function.owner}/{by_name(first).function.target}" for first, _ in BY_OUTBOX.values()
    }
    assert sources == {notice.SOURCE, saga_start.SOURCE}


# OpenAPI


def test_the_openapi_document_is_valid():
    validate(json.loads((schemas.SCHEMAS / "openapi.json").read_text("utf-8")))


def test_every_rest_function_is_described_with_its_path_and_method():
    paths = document("openapi.json")["paths"]

    for entry in declared():
        for path in entry.function.paths:
            assert entry.function.name in paths[path][entry.function.method.lower()]["x-functions"]


def test_who_may_call_is_described():
    paths = document("openapi.json")["paths"]

    assert paths["/ui-api-service/api/v1/external/order"]["post"]["security"] == [{"bearer": []}]
    assert paths["/auth-service/api/v1/users"]["delete"]["security"] == [{"administrator": []}]
    assert paths["/oauth/token"]["post"]["security"] == [{"client": []}]
    assert paths["/ui-api-service/api/v1/auth/token"]["post"]["security"] == []


def test_an_internal_function_is_marked_as_such():
    clients = document("openapi.json")["paths"]["/billing-service/api/v1/internal/clients"]["post"]

    assert clients["tags"] == ["billing", "internal"]


def test_a_placeholder_of_a_path_is_a_parameter_with_its_type():
    enable = document("openapi.json")["paths"]["/auth-service/api/v1/users/{id}/{enabled}"]["post"]

    assert {one["name"]: one["schema"]["type"] for one in enable["parameters"]} == {
        "id": "integer",
        "enabled": "boolean",
    }
