"""Keep an event that nobody could handle, with function, reason and attempts: the dead-letter sink of every platform.

Takes any CloudEvent, whatever its type and data, one or a batch, byte for byte: a dead letter has nowhere else to go.
What is no CloudEvent is kept inside one, of the type homework.arch.ops.unreadable. Where it comes from a Knative
broker the extensions knativeerrordest, knativeerrorcode and knativeerrordata say why; our dispatcher adds
deliveryattempts. Knative's names the function by its address.
"""

import base64
import contextlib
from functools import partial
from logging import ERROR
from urllib.parse import unquote, urlsplit

from cloudevents.http import CloudEvent

from functions.shared import database, events, exact_json, installation
from functions.shared.answers import JSON, Answer, json_answer
from functions.shared.errors import report, trouble_of
from functions.shared.request import Request
from functions.shared.settings import DatabaseSettings, require
from functions.shared.telemetry.instrumented import instrumented
from functions.shared.telemetry.logs import log

KEEP = """
    INSERT INTO dead_letters (function, source, id, type, subject, event, reason, attempts)
    VALUES (:function, :source, :id, :type, :subject, :event, :reason, CAST(:attempts AS integer))
    ON CONFLICT (function, source, id) DO UPDATE
       SET times = dead_letters.times + 1, last_at = now(), replayed_at = NULL,
           reason = excluded.reason, attempts = excluded.attempts
"""

SOURCE = "/ops/dead_letter"
UNREADABLE = "homework.arch.ops.unreadable"
LONGEST_REASON = 2000
# What Knative's dispatcher says for an answer that did not come in time, and others.
NOBODY = (None, "", "-1")
STORY = ("knativeerrordest", "knativeerrorcode", "knativeerrordata", "deliveryattempts")

require(DatabaseSettings)


@partial(instrumented, strangers=installation.not_now)
def dead_letter(request: Request) -> Answer:
    """204 when the event is kept; 503 when it cannot be now. A batch that cannot be read is sent again one by one."""
    if request.method != "POST":
        return json_answer({"error": "expected a CloudEvent by POST"}, 405, {"Allow": "POST"})
    try:
        arrived = _arrived(request)
        with database.transaction() as db:
            for event in arrived:
                db.rows(KEEP, **_row(event))
    except Exception as problem:
        trouble = trouble_of(problem)
        report(trouble, problem, dead_letter.__name__)
        return json_answer({"error": str(problem)}, trouble.status, trouble.headers)
    for event in arrived:
        log("dead letter", level=ERROR, type=event["type"], id=event["id"], order=event.get("subject"))
    return "", 204, {}


def _arrived(request: Request) -> list[CloudEvent]:
    try:
        arrived, _ = events.from_request(request, any_data=True)
    except events.Unacceptable as problem:
        if request.mimetype == events.BATCH:
            raise
        return [_unreadable(request, str(problem))]
    return arrived if request.mimetype in (events.BATCH, events.STRUCTURED) else [_decoded(*arrived)]


def _decoded(event: CloudEvent) -> CloudEvent:
    """Attributes in headers are percent-encoded, which the SDK leaves as it is."""
    attributes = {name: unquote(event[name]) for name in event}
    return CloudEvent(attributes, event.data)


def _unreadable(request: Request, problem: str) -> CloudEvent:
    """A CloudEvent around something that is none."""
    story = {name: value for name in STORY if (value := request.headers.get(f"ce-{name}"))}
    return CloudEvent(
        {
            "specversion": "1.0",
            "type": UNREADABLE,
            "source": SOURCE,
            "id": events.derived_id(SOURCE, request.content_type, base64.b64encode(request.body).decode()),
            "datacontenttype": request.content_type or "application/octet-stream",
            "knativeerrordata": f"no CloudEvent: {problem}",
            **story,
        },
        request.body,
    )


def _row(event: CloudEvent) -> dict:
    return {
        "function": _column(_function(str(event.get("knativeerrordest") or "unknown"))),
        "source": event["source"],
        "id": event["id"],
        "type": event["type"],
        "subject": event.get("subject") and _column(str(event["subject"])),
        "event": _text(event),
        "reason": _column(_reason(event), LONGEST_REASON),
        "attempts": _attempts(event),
    }


def _column(text: str, longest: int = 255) -> str:
    """For people to read and search: PostgreSQL's text has no NUL, and its index no value of any length."""
    return text.replace("\x00", "")[:longest]


def _text(event: CloudEvent) -> str:
    """The event in structured form, to be posted again: JSON as it came where the data are that, else base64."""
    attributes = {name: event[name] for name in event if name not in STORY}
    if not isinstance(event.data, bytes):
        return exact_json.dumps({**attributes, "data": event.data})
    opening = exact_json.dumps(attributes)[:-1]
    if "json" in str(event.get("datacontenttype", JSON)) and (data := _json(event.data)) is not None:
        return f'{opening},"data":{data}}}'
    return f'{opening},"data_base64":"{base64.b64encode(event.data).decode()}"}}'


def _json(data: bytes) -> str | None:
    try:
        exact_json.loads(data)
    except ValueError:
        return None
    return data.decode()


def _function(given: str) -> str:
    """Its name, also out of `http://NAME.food.svc.cluster.local` and `http://gateway:8080/function/NAME`."""
    with contextlib.suppress(ValueError):
        address = urlsplit(given)
        before, _, name = address.path.strip("/").rpartition("/")
        if address.hostname and (before == "function" or not name):
            return name.partition(".")[0] or _first_label(address.hostname) or given
    return given


def _first_label(host: str) -> str | None:
    label = host.partition(".")[0]
    return None if label.isdigit() or ":" in host else label


def _attempts(event: CloudEvent) -> int:
    given = str(event.get("deliveryattempts") or "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 1


def _reason(event: CloudEvent) -> str:
    code, data = event.get("knativeerrorcode"), str(event.get("knativeerrordata") or "")
    with contextlib.suppress(ValueError):
        data = base64.b64decode(data, validate=True).decode(errors="replace")
    # Our dispatcher's data begin with the code, those of others are the answer's body alone.
    if code and data.startswith(str(code)):
        return data
    return f"{code if code not in NOBODY else 'no answer'} {data}".strip()
