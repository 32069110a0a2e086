"""The answers that several owners share: Simple, and the two envelopes with their field orders."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, WithJsonSchema

from functions.shared.settings import ClockSettings, read
from schemas.fields import Wire

# An amount that is told: always a JSON number with two places.
ToldMoney = Annotated[Decimal, WithJsonSchema({"type": "number", "examples": [934.78]})]


def operation_time() -> str:
    """Now, as dd.MM.yyyy HH:mm:ss in the zone of the setting TIME_ZONE."""
    return datetime.now(ZoneInfo(read(ClockSettings).time_zone)).strftime("%d.%m.%Y %H:%M:%S")


class Simple(Wire):
    """Done, or the reason why not."""

    status: str = "OK"
    error: str = ""

    @classmethod
    def refused(cls, reason: str, **fields: Any) -> Self:
        """An ERROR with its reason."""
        return cls(status="ERROR", error=reason, **fields)


class Envelope(Wire):
    """errorCode 0 is fine; the fields of the answer follow, null after an error."""

    error_code: int = 0
    error_message: str = ""
    operation_time: str = Field(default_factory=operation_time)

    @classmethod
    def refused(cls, code: int, reason: str) -> Self:
        """An error: code and reason, every other field at its empty value."""
        return cls(error_code=code, error_message=reason)


class AdminEnvelope(Wire):
    """The envelope of the administration, which tells the time first."""

    operation_time: str = Field(default_factory=operation_time)
    error_code: int = 0
    error_message: str = ""

    @classmethod
    def refused(cls, code: int, reason: str) -> Self:
        """An error: code and reason, every other field at its empty value."""
        return cls(error_code=code, error_message=reason)
