"""Passwords as argon2id hashes.

The cost is OWASP's recommendation of 19 MiB, two passes and one lane:
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
"""

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)
# No password has this hash; comparing with it takes as long as comparing with a real one.
_NOBODYS = f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p=1${'A' * 22}${'A' * 43}"


# Each takes 19 MiB and a core for a while: many at a time would be slower and hold the memory of all.
_AT_A_TIME = BoundedSemaphore(2)


def hashed(password: str) -> str:
    """The hash to be stored."""
    with _AT_A_TIME:
        return _HASHER.hash(password)


def fits(stored: str | None, password: str) -> bool:
    """Whether the password belongs to the stored hash; without one it takes as long to say no."""
    try:
        with _AT_A_TIME:
            return _HASHER.verify(stored or _NOBODYS, password)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether the hash was made at another cost than today's."""
    return _HASHER.check_needs_rehash(stored)
