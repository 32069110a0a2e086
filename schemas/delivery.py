"""What delivery's REST method takes and gives."""

from schemas.answers import Envelope
from schemas.fields import Day, Wire


class SlotQuery(Wire):
    """The day of interest."""

    date: Day


class Slot(Wire):
    """How many couriers are free in an hour."""

    hour: int
    free: int


class Slots(Envelope):
    """The 24 hours of a day."""

    date: Day | None = None
    slots: list[Slot] | None = None
