"""Who calls a REST method: the person behind a good access token."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The person behind a good access token."""

    username: str
    email: str
    authorities: tuple[str, ...]
