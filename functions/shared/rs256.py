"""RS256 for PyJWT by pycryptodomex: RSASSA-PKCS1-v1_5 with SHA-256, https://www.rfc-editor.org/rfc/rfc7518#section-3.3.

PyJWT's own is cryptography's, ten MiB more in every process that looks at a token. Importing this module makes
`jwt.encode` and `jwt.decode` use what is here; keys are pycryptodomex's or PEM.
"""

import json
import sys
from contextlib import suppress
from typing import Any

import jwt
from jwt.algorithms import Algorithm
from jwt.utils import from_base64url_uint, to_base64url_uint

# pycryptodomex calls its C code by cffi where that is installed (argon2 brings it), by ctypes everywhere else. cffi
# parses each declaration first, which takes two MiB that no other part of a process needs.
_cffi = sys.modules.setdefault("cffi", None)  # type: ignore[arg-type]
try:
    from Cryptodome.Hash import SHA256
    from Cryptodome.PublicKey import RSA
    from Cryptodome.Signature import pkcs1_15
finally:
    if _cffi is None:
        del sys.modules["cffi"]

# https://www.rfc-editor.org/rfc/rfc7518#section-3.3: "A key of size 2048 bits or larger MUST be used".
LEAST_BITS = 2048


class RS256(Algorithm):
    """Sign, and check what was signed."""

    def prepare_key(self, key: RSA.RsaKey | str | bytes) -> RSA.RsaKey:
        """The key that `key` is or, as PEM, holds. Raises ValueError where that is none of RSA or too short."""
        return key if isinstance(key, RSA.RsaKey) else key_of(key)

    def sign(self, msg: bytes, key: RSA.RsaKey) -> bytes:
        """The signature, as long as the key."""
        return pkcs1_15.new(key).sign(SHA256.new(msg))

    def verify(self, msg: bytes, key: RSA.RsaKey, sig: bytes) -> bool:
        """Whether `sig` is this key's for `msg`."""
        try:
            pkcs1_15.new(key).verify(SHA256.new(msg), sig)
        except ValueError:
            return False
        return True

    @staticmethod
    def to_jwk(key_obj: RSA.RsaKey, as_dict: bool = False) -> Any:
        """A public key's numbers: https://www.rfc-editor.org/rfc/rfc7518#section-6.3"""
        numbers = {"n": key_obj.n, "e": key_obj.e}
        jwk = {"kty": "RSA"} | {name: to_base64url_uint(number).decode() for name, number in numbers.items()}
        return jwk if as_dict else json.dumps(jwk)

    @staticmethod
    def from_jwk(jwk: str | dict) -> RSA.RsaKey:
        """The public key of such numbers."""
        numbers = json.loads(jwk) if isinstance(jwk, str) else jwk
        return RSA.construct((from_base64url_uint(numbers["n"]), from_base64url_uint(numbers["e"])))


def key_of(pem: str | bytes) -> RSA.RsaKey:
    """The key, public or private, that a PEM text holds. Raises ValueError where that is none of RSA or too short."""
    try:
        key = RSA.import_key(pem)
    except (ValueError, IndexError, TypeError):
        raise ValueError("expected an RSA key as PEM, got something else") from None
    if key.size_in_bits() < LEAST_BITS:
        raise ValueError(f"expected an RSA key of at least {LEAST_BITS} bits, got one of {key.size_in_bits()}")
    return key


with suppress(KeyError):
    jwt.unregister_algorithm("RS256")
jwt.register_algorithm("RS256", RS256())
