"""The public keys as a JSON Web Key Set: https://www.rfc-editor.org/rfc/rfc7517"""

from functions.shared.bearer import KeySettings, public_keys
from functions.shared.rest import Response, rest
from functions.shared.settings import require
from schemas.auth import Jwk, Jwks

require(KeySettings)

KEEP = {"Cache-Control": "public, max-age=300"}


@rest("GET", "/.well-known/jwks.json", caller="public")
def jwks() -> Response[Jwks]:
    """Every key that a good token may be signed with."""
    from functions.shared.rs256 import RS256

    numbers = {kid: RS256.to_jwk(key, as_dict=True) for kid, key in public_keys().items()}
    keys = tuple(Jwk(kid=kid, n=number["n"], e=number["e"]) for kid, number in numbers.items())
    return Response(Jwks(keys=keys), headers=KEEP)
