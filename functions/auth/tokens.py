"""Tokens as they are signed: JWT, RS256, the key's id in the header."""

import time
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from pydantic import Field

from functions.shared.bearer import key_id, key_in, public_keys
from functions.shared.settings import Misconfigured, Settings, read
from schemas.auth import Tokens

if TYPE_CHECKING:
    from Cryptodome.PublicKey.RSA import RsaKey

CLIENT = "USER_CLIENT_APP"
SCOPE = ("read", "write")
# Whatever holds a token belongs in no cache.
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class LifetimeSettings(Settings):
    """How long tokens are good."""

    auth_access_seconds: int = Field(default=900, gt=0, description="seconds that an access token is good")
    auth_refresh_seconds: int = Field(default=3600, gt=0, description="seconds that a refresh token is good")


class TokenSettings(LifetimeSettings):
    """The key that signs, and how long tokens are good."""

    jwt_private_key: str = Field(
        pattern="PRIVATE KEY-----", description="PEM private key that tokens are signed with"
    )


@cache
def _signing_key() -> "tuple[RsaKey, str]":
    key = key_in("JWT_PRIVATE_KEY", read(TokenSettings).jwt_private_key)
    name = key_id(key.public_key())
    if name not in public_keys():
        raise Misconfigured("JWT_PRIVATE_KEY: its public key is not in JWT_PUBLIC_KEY, no token would be good")
    return key, name


def _signed(claims: dict[str, Any]) -> str:
    # As in bearer.py: loaded by the first token.
    import jwt

    key, name = _signing_key()
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": name})


def issue(user: Any, login: UUID, refresh_id: UUID) -> Tokens:
    """Both tokens for `user` (a row: username, email, authorities, token_version), who is logged in as `login`."""
    settings, now, access_id = read(TokenSettings), int(time.time()), str(uuid4())
    claims = {
        "user_name": user.username,
        "scope": SCOPE,
        "exp": now + settings.auth_access_seconds,
        "authorities": user.authorities,
        "jti": access_id,
        "email": user.email,
        "client_id": CLIENT,
        "iat": now,
        "ver": user.token_version,
    }
    refresh = {
        "exp": now + settings.auth_refresh_seconds,
        "jti": str(refresh_id),
        "ati": access_id,
        "sid": str(login),
    }
    return Tokens(
        access_token=_signed(claims),
        refresh_token=_signed(claims | refresh),
        expires_in=settings.auth_access_seconds,
        email=user.email,
        jti=access_id,
    )
