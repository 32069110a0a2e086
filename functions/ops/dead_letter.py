"""Keep an event that nobody could handle, with function, reason and attempts: the dead-letter sink of every platform.

Takes any CloudEvent, whatever its type and data, one or a batch. Where it comes from a Knative broker the extensions
knativeerrordest, knativeerrorcode and knativeerrordata tell the story; our dispatcher adds deliveryattempts.
Knative's names the function by its address.
"""

import base64
import binascii
import contextlib
from logging import ERROR
from urllib.parse import urlsplit

from cloudevents.http import CloudEvent

from functions.shared import database, events
from functions.shared.answers import Answer, json_answer
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

STORY = ("knativeerrordest", "knativeerrorcode", "knativeerrordata", "deliveryattempts")

require(DatabaseSettings)


@instrumented
def dead_letter(request: Request) -> Answer:
    """204 when the event is kept; 503 when it cannot be now. What is no CloudEvent is told to the log alone."""
    if request.method != "POST":
        return json_answer({"error": "expected a CloudEvent by POST"}, 405, {"Allow": "POST"})
    try:
        arrived, _ = events.from_request(request, any_data=True)
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


def _row(event: CloudEvent) -> dict:
    plain = CloudEvent({name: event[name] for name in event if name not in STORY}, event.data)
    return {
        "function": _function(str(event.get("knativeerrordest") or "unknown")),
        "source": event["source"],
        "id": event["id"],
        "type": event["type"],
        "subject": event.get("subject"),
        "event": events.to_text(plain).replace("\\u0000", ""),
        "reason": _reason(event).replace("\x00", ""),
        "attempts": _attempts(event),
    }


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
    with contextlib.suppress(binascii.Error):
        data = base64.b64decode(data, validate=True).decode(errors="replace")
    # Our dispatcher's data begin with the code, those of others are the answer's body alone.
    return data if code and data.startswith(str(code)) else f"{code or 'no answer'} {data}".strip()
