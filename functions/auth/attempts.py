"""How often somebody may be wrong: attempts to log in are counted by name and by address, for all processes alike.

An attempt counts before its password is looked at, so that many at once are no way round; the right password takes
its own back.
"""

import hashlib
import math

from pydantic import Field

from functions.shared.answers import Answer, json_answer
from functions.shared.database import Database
from functions.shared.request import Request
from functions.shared.settings import Settings, read
from schemas.answers import Simple


class AttemptSettings(Settings):
    """How many wrong attempts there may be within a time, and where the client's address is found."""

    auth_attempts_seconds: int = Field(default=300, gt=0, description="seconds in which wrong logins are counted")
    auth_attempts_of_name: int = Field(default=10, gt=0, description="wrong logins of one name within that time")
    auth_attempts_of_address: int = Field(
        default=100, gt=0, description="wrong logins from one address within that time"
    )
    auth_proxies: int = Field(
        default=0,
        ge=0,
        description="proxies that write X-Forwarded-For, counted from here; 0: addresses are not known",
    )


# A row begins anew when its time is over.
COUNT = """
    INSERT INTO login_attempts AS known (subject, attempts, since)
    SELECT unnest(CAST(:subjects AS text[])), 1, now() ORDER BY 1
    ON CONFLICT (subject) DO UPDATE
       SET attempts = CASE WHEN known.since > now() - make_interval(secs => :seconds)
                           THEN known.attempts + 1 ELSE 1 END,
           since = CASE WHEN known.since > now() - make_interval(secs => :seconds) THEN known.since ELSE now() END
    RETURNING subject, attempts,
              extract(epoch FROM since + make_interval(secs => :seconds) - now()) AS left_seconds
"""

TAKE_BACK = """
    UPDATE login_attempts SET attempts = attempts - 1
     WHERE subject = ANY(CAST(:subjects AS text[])) AND attempts > 0
"""


class TooManyAttempts(Exception):
    """There were too many wrong attempts; `seconds` until the next one is looked at."""

    def __init__(self, seconds: int):
        super().__init__(f"Too many attempts, the next one is looked at in {seconds} seconds")
        self.headers = {"Retry-After": str(seconds), "Cache-Control": "no-store"}

    def answer(self) -> Answer:
        """429, in the form of the public API."""
        return json_answer(Simple.refused(str(self)).model_dump(), 429, self.headers)


def subjects_of(username: str, request: Request) -> list[str]:
    """By whom an attempt is counted: its name, and its address where that is known."""
    address = _address(request.headers.get("x-forwarded-for") or "", read(AttemptSettings).auth_proxies)
    return [_hashed("name", username), *([_hashed("address", address)] if address else [])]


def count(subjects: list[str], db: Database) -> None:
    """One more attempt. Raises TooManyAttempts."""
    settings = read(AttemptSettings)
    most = (settings.auth_attempts_of_name, settings.auth_attempts_of_address)
    rows = {row.subject: row for row in db.rows(COUNT, subjects=subjects, seconds=settings.auth_attempts_seconds)}
    over = [rows[one] for one, limit in zip(subjects, most, strict=False) if rows[one].attempts > limit]
    if over:
        raise TooManyAttempts(max(1, *(math.ceil(row.left_seconds) for row in over)))


def take_back(subjects: list[str], db: Database) -> None:
    """That attempt was right."""
    db.rows(TAKE_BACK, subjects=subjects)


def _address(forwarded: str, proxies: int) -> str | None:
    """What the outermost of our proxies saw; whatever stands before that was written by the client."""
    seen = [address.strip() for address in forwarded.split(",")]
    return seen[-proxies] if 0 < proxies <= len(seen) else None


def _hashed(kind: str, value: str) -> str:
    return f"{kind}:{hashlib.sha256(value.encode(errors='replace')).hexdigest()}"
