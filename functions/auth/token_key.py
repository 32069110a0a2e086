"""The public key for clients that check tokens themselves; jwks.py gives all keys."""

from functions.shared.bearer import KeySettings, public_keys
from functions.shared.rest import rest
from functions.shared.settings import require
from schemas.auth import TokenKey

require(KeySettings)


@rest("GET", "/oauth/token_key", caller="public")
def token_key() -> TokenKey:
    """The first of JWT_PUBLIC_KEY: while keys are changed, that is the one that signs."""
    key = next(iter(public_keys().values()))
    return TokenKey(value=key.export_key().decode() + "\n")
