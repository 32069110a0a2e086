"""The answers that several owners share: Simple, and the two envelopes with their field orders."""

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Field, WithJsonSchema

from schemas.error_codes import Refusal
from schemas.fields import Wire

# An amount in an answer: always a JSON number with two places.
ToldMoney = Annotated[Decimal, WithJsonSchema({"type": "number", "examples": [934.78]})]


class Simple(Wire):
    """Done, or the reason why not."""

    status: str = "OK"
    error: str = ""

    @classmethod
    def refused(cls, reason: str, **fields: Any) -> Self:
        """An ERROR with its reason."""
        return cls(status="ERROR", error=reason, **fields)


class Timed(Wire):
    """An answer that says when it was given; the time is filled in when the answer is written."""

    def at(self, time: str) -> Self:
        """The same answer, given at `time`: dd.MM.yyyy HH:mm:ss in the system's own zone."""
        return self.model_copy(update={"operation_time": time})


class Envelope(Timed):
    """errorCode 0 is fine; the fields of the answer follow, null after an error."""

    error_code: int = 0
    error_message: str = ""
    operation_time: str = Field(default_factory=str)

    @classmethod
    def refused(cls, refusal: Refusal) -> Self:
        """A refusal, every other field at its empty value."""
        return cls(error_code=refusal.code, error_message=refusal.message)


class AdminEnvelope(Timed):
    """The envelope of the administration, in which the time comes first."""

    operation_time: str = Field(default_factory=str)
    error_code: int = 0
    error_message: str = ""

    @classmethod
    def refused(cls, refusal: Refusal) -> Self:
        """A refusal, every other field at its empty value."""
        return cls(error_code=refusal.code, error_message=refusal.message)
