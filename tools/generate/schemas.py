"""Write the documents of the contract, from the models and from what the functions declare.

They are the files in schemas/ that are no Python.
"""

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import simplejson
from cloudevents.conversion import to_dict
from cloudevents.http import CloudEvent
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from functions.order import notice, saga_start
from functions.shared import events, idempotency
from functions.shared.answers import JSON
from functions.shared.rest import FORM, Response, Route, admin_refusal, oauth_refusal
from schemas.answers import Simple
from schemas.auth import OAuthError, Tokens
from schemas.events import ALL, EmailMessage, EventData, NewOrder, Result
from tools.declared import Declared, by_name, declared, senders, steps

SCHEMAS = Path(__file__).parents[2] / "schemas"
TIME = "2026-11-23T12:00:00.000Z"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/components/schemas/{model}"
LIMITS = {"ge": "minimum", "le": "maximum"}
INFO = {
    "title": "Food ordering",
    "version": "0.1.0",
    "description": "Generated from the functions and their models by `make generate`.",
}


class Plainly(GenerateJsonSchema):
    """JSON Schema without a title for every field that repeats its name."""

    def field_title_should_be_set(self, _: Any) -> bool:
        """Never."""
        return False


# Events


def event_schema(model: type[EventData]) -> dict[str, Any]:
    """The JSON Schema of an event's data."""
    head = {"$schema": DIALECT, "$id": f"{model.event_type}.schema.json"}
    return head | model.model_json_schema(schema_generator=Plainly)


def example_event(short_type: str) -> CloudEvent:
    """An event of that type, with the ids that the system itself would give it."""
    model = ALL[short_type]
    data = model.model_validate(model.example)
    source, id, causation = _origin(model, data.order_id)
    attributes = {"type": model.event_type, "source": source, "id": id, "causation": causation}
    event = events.make(**attributes, subject=data.order_id, data=data.model_dump(by_alias=True))
    event["time"] = TIME
    return event


def _origin(model: type[EventData], order_id: str) -> tuple[str, str, str]:
    """Source, id and causation of an order's event: each id is derived from the one before."""
    if model is EmailMessage:
        cause = events.derived_id(notice.SOURCE, order_id, Result.event_type)
        return notice.SOURCE, events.derived_id(notice.SOURCE, order_id, model.event_type), cause
    source, cause = saga_start.SOURCE, NewOrder.example["msgId"]
    id = events.derived_id(source, order_id, NewOrder.event_type)
    for step, following in _way(model):
        cause, id = id, events.derived_id(source, id, following.event_type)
        source = step.contract.source
    return source, id, cause


def _way(model: type[EventData]) -> list[tuple[Declared, type[EventData]]]:
    """The steps from an order's first event to the given one, by the shortest way, each with what it sends."""
    ways: dict[type, list] = {NewOrder: []}
    for step in steps():
        for following in step.contract.gives:
            ways.setdefault(following, [*ways[step.contract.takes], (step, following)])
    return ways[model]


# AsyncAPI


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document: a channel for each event type, a receive and a send operation for each step."""
    models = sorted(ALL.items())
    return {
        "asyncapi": "3.0.0",
        "info": INFO,
        "defaultContentType": "application/json",
        "channels": {short: _channel(short, model) for short, model in models},
        "operations": dict(sorted(_operations())),
        "components": {
            "messages": {short: _message(short, model) for short, model in models},
            "schemas": _definitions([(model, "validation") for model in ALL.values()]),
        },
    }


def _channel(short: str, model: type[EventData]) -> dict[str, Any]:
    return {
        "address": model.event_type,
        "description": f"CloudEvents of the type {model.event_type}.",
        "messages": {short: {"$ref": f"#/components/messages/{short}"}},
    }


def _message(short: str, model: type[EventData]) -> dict[str, Any]:
    event = to_dict(example_event(short))
    data = event.pop("data")
    attributes = {name: {"type": "string"} for name in event}
    attributes["specversion"] = {"const": "1.0"}
    attributes["type"] = {"const": model.event_type}
    return {
        "name": model.event_type,
        "summary": model.__doc__,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": attributes, "required": ["specversion", "type", "source", "id"]},
        "payload": {"$ref": REF.format(model=model.__name__)},
        "examples": [{"name": short, "headers": event, "payload": data}],
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for step in steps():
        yield _operation(step, "receive", step.contract.takes.short_type)
    for short in ALL:
        for sender in senders(short):
            yield _operation(by_name(sender), "send", short)


def _operation(entry: Declared, action: str, short: str) -> tuple[str, dict[str, Any]]:
    name = entry.function.name
    return f"{name}.{action}.{short}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{short}"},
        "summary": entry.summary,
        "messages": [{"$ref": f"#/channels/{short}/messages/{short}"}],
        "tags": [{"name": entry.function.owner}],
    }


# OpenAPI


def openapi() -> dict[str, Any]:
    """The OpenAPI document: every REST function by its paths."""
    entries = sorted((entry for entry in declared() if entry.route), key=lambda entry: entry.function.name)
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "http://127.0.0.1:8000", "description": "the local gateway"}],
        "tags": [{"name": name} for name in sorted({tag for entry in entries for tag in _tags(entry)})],
        "paths": _paths(entries),
        "components": {
            "securitySchemes": SECURITY,
            "responses": RESPONSES,
            "schemas": dict(sorted((FRAMEWORK_ERROR | _definitions(_rest_models(entries))).items())),
        },
    }


def _paths(entries: list[Declared]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for entry in entries:
        for number, path in enumerate(entry.route.paths, start=1):
            operations = paths.setdefault(path, {})
            operation = operations.setdefault(entry.route.method.lower(), _method(entry, number))
            # Each owner has its own function of that path; which one answers, the address says.
            operation.setdefault("x-functions", []).append(entry.function.name)
    return dict(sorted(paths.items()))


def _method(entry: Declared, number: int) -> dict[str, Any]:
    route, name = entry.route, entry.function.name
    method = {
        "operationId": name if number == 1 else f"{name}-{number}",
        "summary": entry.summary,
        "description": entry.description,
        "tags": _tags(entry),
        "security": _security(route),
        "responses": dict(sorted(_responses(route).items())),
    }
    if parameters := _parameters(route):
        method["parameters"] = parameters
    if route.takes_content:
        content = {FORM if route.form else "application/json": {"schema": _schema_of(route.body)}}
        method["requestBody"] = {"required": True, "content": content}
    return method


def _tags(entry: Declared) -> list[str]:
    return [entry.function.owner] + (["internal"] if entry.route.caller == "internal" else [])


def _security(route: Route) -> list[dict[str, list]]:
    if route.form:
        return [{"client": []}]
    names = {"bearer": "bearer", "admin": "administrator", "internal": "installation"}
    return [{names[route.caller]: []}] if route.caller in names else []


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_header = [KEY] if route.takes_key else []
    return in_header + _in_path(route)


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": TypeAdapter(hint).json_schema()}
        for name, hint in route.parameters.items()
        if f"{{{name}}}" in route.paths[0]
    ] + [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in _query_fields(route).items()
    ]


def _query_fields(route: Route) -> dict[str, Any]:
    if route.body is None or route.takes_content:
        return {}
    return _standard(route.body.model_json_schema(schema_generator=Plainly)["properties"])


def _responses(route: Route) -> dict[str, Any]:
    answers = _answers(route.gives)
    fine = [answer for answer in answers if answer is not OAuthError]
    responses = {"200": _json("Done, or the reason why not.", fine, route.media_type)} | _troubles(route)
    if route.media_type != JSON:
        # Health says in its own form that something is down, the gateway in its own that nobody answers.
        down, away = _json("Down, or not reached.", fine, route.media_type), RESPONSES["Unavailable"]
        responses["503"] = away | down | {"content": away["content"] | down["content"]}
    if OAuthError in answers:
        responses["400"] = _json("Refused.", [OAuthError])
    return responses


def _troubles(route: Route) -> dict[str, Any]:
    refusal = {admin_refusal: "AdminBadRequest", oauth_refusal: "OAuthBadRequest"}.get(route.refusal, "BadRequest")
    names = {"405": "MethodNotAllowed", "503": "Unavailable"}
    if route.takes_content:
        names |= {"400": refusal, "413": "TooLarge", "415": "UnsupportedMediaType"}
    elif _in_path(route):
        names["400"] = refusal
    if route.takes_key:
        names["422"] = "KeyUsed"
    if route.takes_key or route.caller != "internal":
        names["504"] = "Uncertain"
    if Tokens in _answers(route.gives):
        names["429"] = "TooManyAttempts"
    elif route.caller != "internal":
        names["429"] = "TooManyRequests"
    if route.caller == "internal":
        names["401"] = "Unauthorized"
    elif route.form:
        names |= {"401": "NotTheClient", "403": "NotTheClient"}
    elif _security(route):
        names |= {"401": "Unauthorized", "403": "Forbidden"}
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in names.items()}


def _answers(gives: Any) -> list[Any]:
    """The bodies that an annotation names: `Response[A | B] | C` has A, B and C."""
    if isinstance(gives, types.UnionType) or typing.get_origin(gives) in (typing.Union, Response):
        found = [answer for part in typing.get_args(gives) for answer in _answers(part)]
        return list(dict.fromkeys(found))
    return [gives]


def _json(description: str, bodies: list[Any], media_type: str = JSON) -> dict[str, Any]:
    if bodies == [bytes]:
        # What goes out as it is: text for Prometheus.
        return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}
    schemas = [_schema_of(body) for body in bodies]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _schema_of(body: Any) -> dict[str, Any]:
    is_model = isinstance(body, type) and issubclass(body, BaseModel)
    return {"$ref": REF.format(model=body.__name__)} if is_model else TypeAdapter(body).json_schema()


def _rest_models(entries: list[Declared]) -> list[tuple[type[BaseModel], str]]:
    bodies = [(entry.route.body, "validation") for entry in entries if entry.route.body]
    answers = [(answer, "serialization") for entry in entries for answer in _answers(entry.route.gives)]
    models = [(model, mode) for model, mode in bodies + answers if issubclass(_class_of(model), BaseModel)]
    return list(dict.fromkeys([*models, (Simple, "serialization"), (OAuthError, "serialization")]))


def _class_of(body: Any) -> type:
    return body if isinstance(body, type) else typing.get_origin(body)


def _definitions(models: list[tuple[type[BaseModel], str]]) -> dict[str, Any]:
    _, schema = models_json_schema(models, ref_template=REF, schema_generator=Plainly)
    return dict(sorted(schema["$defs"].items()))


def _error(description: str, *models: str, **headers: str) -> dict[str, Any]:
    schemas = [{"$ref": REF.format(model=model)} for model in models]
    content = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
    headers = {
        name.replace("_", "-"): {"description": what, "schema": {"type": "string"}} for name, what in headers.items()
    }
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": idempotency.LONGEST, "pattern": "^[!-~]+$"},
    "description": "The client's own name for this request, so that it can be sent again: the same key and body are "
    "answered as before and move no money again; the same key with another body is refused with 422. "
    "Kept for a day (IDEMPOTENCY_KEY_HOURS).",
}

SECURITY = {
    "administrator": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token with ROLE_ADMIN.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token with ROLE_USER.",
    },
    "installation": {
        "type": "http",
        "scheme": "bearer",
        "description": "The installation's token (INSTALLATION_TOKEN): for its own functions and triggers.",
    },
    "client": {"type": "http", "scheme": "basic", "description": "The OAuth client and its secret."},
}

FRAMEWORK_ERROR = {
    "FrameworkError": {
        "type": "object",
        "description": "An error as clients of the original know it from its framework.",
        "properties": {
            "timestamp": {"type": "string", "format": "date-time"},
            "status": {"type": "integer"},
            "error": {"type": "string"},
            "message": {"type": "string"},
            "path": {"type": "string"},
        },
        "required": ["timestamp", "status", "error", "path"],
    }
}

RESPONSES = {
    "AdminBadRequest": _error("The text names the field, what was expected and what came.", "FrameworkError"),
    "BadRequest": _error("The text names the field, what was expected and what came.", "Simple"),
    "Forbidden": _error("The token is good and its role is not enough.", "OAuthError"),
    "KeyUsed": _error("The Idempotency-Key was used for another request.", "Simple"),
    "MethodNotAllowed": _error("Another method is expected.", "FrameworkError", Allow="the method"),
    "NotTheClient": _error("No credentials of the client, or wrong ones.", "OAuthError"),
    "OAuthBadRequest": _error("The text names the field, what was expected and what came.", "OAuthError"),
    "TooLarge": _error("The body is larger than 128 KiB.", "FrameworkError"),
    "TooManyAttempts": _error(
        "Too many wrong attempts of this name or from this address; or too many requests of everybody's.",
        "Simple",
        "FrameworkError",
        Retry_After="seconds",
    ),
    "TooManyRequests": _error(
        "More requests than the public host takes (GATEWAY_REQUESTS_PER_SECOND); nothing was done.",
        "FrameworkError",
        Retry_After="seconds",
    ),
    "Unauthorized": _error("No token, a wrong or an expired one.", "OAuthError", WWW_Authenticate="the scheme"),
    "Unavailable": _error("Not now; asking again is safe.", "FrameworkError", Retry_After="seconds"),
    "Uncertain": _error("Nobody knows whether it was done: look, or ask again with the same key.", "FrameworkError"),
    "UnsupportedMediaType": _error("Another content type is expected.", "FrameworkError", Accept_Post="the type"),
}


# Files


def documents() -> dict[Path, str]:
    """Every generated file with its text."""
    found: dict[str, Any] = {"asyncapi.json": asyncapi(), "openapi.json": openapi()}
    for short, model in ALL.items():
        found[f"events/{short}.schema.json"] = event_schema(model)
        found[f"events/{short}.example.json"] = to_dict(example_event(short))
    return {SCHEMAS / name: _text(_standard(value)) for name, value in found.items()}


def stale() -> list[Path]:
    """The files that are missing, that say something else than the code, or that nobody needs any more."""
    wanted = documents()
    left = set((SCHEMAS / "events").glob("*.json")) - set(wanted)
    differ = {path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text}
    return sorted(differ | left)


def write() -> list[Path]:
    """Write what is stale, and give its paths."""
    wanted, changed = documents(), stale()
    (SCHEMAS / "events").mkdir(exist_ok=True)
    for path in changed:
        path.write_text(wanted[path], "utf-8") if path in wanted else path.unlink()
    return changed


def _standard(value: Any) -> Any:
    """The limits of pydantic's validated numbers (`ge`) as JSON Schema calls them (`minimum`)."""
    if isinstance(value, list):
        return [_standard(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        LIMITS.get(name, name) if isinstance(item, int) else name: _standard(item) for name, item in value.items()
    }


def _text(value: Any) -> str:
    return simplejson.dumps(value, use_decimal=True, ensure_ascii=False, indent=2) + "\n"
