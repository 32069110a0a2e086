"""Passwords as argon2id hashes.

The cost is OWASP's recommendation of 19 MiB, two passes and one lane:
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
"""

from functools import cache
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from functions.shared import later

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MEMORY, PASSES = 19_456, 2  # KiB
# No password has this hash; comparing with it takes as long as comparing with a real one.
_NOBODYS = f"$argon2id$v=19$m={MEMORY},t={PASSES},p=1${'A' * 22}${'A' * 43}"

later.load("argon2")

# Each takes 19 MiB and a core for a while: many at a time would be slower and hold the memory of all.
_AT_A_TIME = BoundedSemaphore(2)


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(memory_cost=MEMORY, time_cost=PASSES, parallelism=1)


def hashed(password: str) -> str:
    """The hash to be stored."""
    with _AT_A_TIME:
        return _hasher().hash(password)


def fits(stored: str | None, password: str) -> bool:
    """Whether the password belongs to the stored hash; without one it takes as long to say no."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        with _AT_A_TIME:
            return _hasher().verify(stored or _NOBODYS, password)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether the hash was made at another cost than today's."""
    return _hasher().check_needs_rehash(stored)
