"""The Idempotency-Key of a request: the client's own name for it, so that it can be sent again and is done once.

See https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import re

HEADER = "Idempotency-Key"
LONGEST = 255
PRINTABLE = re.compile(rf"[!-~]{{1,{LONGEST}}}")


class IdempotencyKey(str):
    """As it came, or without its quotes: the draft writes it as a quoted string, and many clients do not."""

    __slots__ = ()

    @classmethod
    def read(cls, value: str | None) -> "IdempotencyKey | None":
        """The key in a header. Raises ValueError."""
        if value is None:
            return None
        key = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
        if not PRINTABLE.fullmatch(key):
            raise ValueError(f"expected 1 to {LONGEST} printable ASCII characters without blanks, got {value[:80]!r}")
        return cls(key)


Optional = IdempotencyKey | None
