"""Who calls: the bearer token of a request, checked with public keys and auth's list of what was revoked.

PyJWT and what checks a signature are loaded by the first token, not by a function's start.
"""

import base64
import hashlib
import time
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from pydantic import Field

from functions.shared.answers import Answer, json_answer
from functions.shared.caller import Caller
from functions.shared.request import Request
from functions.shared.revocations import revocations
from functions.shared.settings import PUBLIC, Misconfigured, Settings, read

if TYPE_CHECKING:
    from Cryptodome.PublicKey.RSA import RsaKey

END = "-----END PUBLIC KEY-----"


class KeySettings(Settings):
    """One or more PEM public keys, one after the other: while keys are changed, old and new are good."""

    later = ("functions.shared.rs256",)
    jwt_public_key: str = Field(
        pattern=END, description="PEM public key(s) that tokens are checked with", json_schema_extra=PUBLIC
    )


class Unauthorized(Exception):
    """No good token came; `error` is OAuth's word for it, the text its description."""

    def __init__(self, error: str, description: str):
        super().__init__(description)
        self.error = error

    def answer(self) -> Answer:
        """401 as OAuth clients know it."""
        challenge = "Bearer" if self.error == "unauthorized" else f'Bearer error="{self.error}"'
        body = {"error": self.error, "error_description": str(self)}
        return json_answer(body, 401, {"WWW-Authenticate": challenge, "Cache-Control": "no-store"})


class Expired(Unauthorized):
    """The token was good once."""

    def __init__(self) -> None:
        super().__init__("invalid_token", "Access token expired")


def key_id(key: "RsaKey") -> str:
    """A public key's name, derived from the key itself: of the DER of its SubjectPublicKeyInfo."""
    der = key.export_key("DER")
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()[:12]).decode()


def key_in(setting: str, pem: str) -> "RsaKey":
    """The key that a setting holds as PEM. Raises Misconfigured, which names the setting."""
    from functions.shared.rs256 import key_of

    try:
        return key_of(pem)
    except ValueError as problem:
        raise Misconfigured(f"{setting}: {problem}") from None


@cache
def public_keys() -> "dict[str, RsaKey]":
    """The public keys by their ids, as the setting JWT_PUBLIC_KEY lists them. Raises Misconfigured."""
    pems = read(KeySettings).jwt_public_key.split(END)[:-1]
    keys = [key_in("JWT_PUBLIC_KEY", pem.strip() + "\n" + END) for pem in pems]
    return {key_id(key): key for key in keys}


def claims_of(token: str) -> dict:
    """The claims of a token that one of our keys signed and whose time has not run out. Raises Unauthorized."""
    claims = _signed_claims(token, tuple(public_keys()))
    if claims["exp"] <= time.time():
        raise Expired
    return claims


@lru_cache(maxsize=1024)
def _signed_claims(token: str, key_ids: tuple[str, ...]) -> dict:  # noqa: ARG001 - other keys, other answers
    """The claims of a good token: a client sends the same one many times, and its signature stays what it is."""
    import jwt

    try:
        key = public_keys()[jwt.get_unverified_header(token)["kid"]]
        # `iat` is for people: a clock that is a moment behind the issuer's must not refuse a fresh token.
        options = {"require": ["exp", "jti", "user_name"], "verify_iat": False}
        return jwt.decode(token, key, algorithms=["RS256"], options=options)
    except jwt.ExpiredSignatureError:
        raise Expired from None
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        raise Unauthorized("invalid_token", "Cannot convert access token to JSON") from None


def caller_of(request: Request) -> Caller:
    """The caller behind the request's bearer token. Raises Unauthorized, and Busy when nobody can tell."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("unauthorized", "Full authentication is required to access this resource")
    claims = claims_of(token.strip())
    if "ati" in claims:
        # A refresh token is signed with the same key; it opens nothing but the token endpoint.
        raise Unauthorized("invalid_token", "Expected an access token, got a refresh token")
    if revocations.has(claims):
        raise Unauthorized("invalid_token", "Access token was revoked")
    return Caller(claims["user_name"], claims.get("email") or "", tuple(claims.get("authorities", ())))
