"""Show an application the claims of an access token, and whether it is valid."""

from functions.auth import oauth_client
from functions.auth.tokens import NO_STORE
from functions.shared.bearer import Expired, KeySettings, Unauthorized, claims_of
from functions.shared.database import Database
from functions.shared.request import Request
from functions.shared.rest import Response, oauth_refusal, rest
from functions.shared.settings import require
from schemas.auth import Claims, OAuthError, TokenCheck

require(KeySettings, oauth_client.ClientSettings)

STILL_GOOD = "SELECT id FROM accounts WHERE username = :username AND enabled AND token_version <= :version"


@rest("POST", "/oauth/check_token", caller="public", form=True, refusal=oauth_refusal)
def check_token(body: TokenCheck, request: Request, db: Database) -> Response[Claims | OAuthError]:
    """The claims of a good access token; one that was revoked since, or whose user is gone, is not good."""
    oauth_client.check(request)
    try:
        claims = claims_of(body.token)
    except Expired:
        return _refused("Token has expired")
    except Unauthorized:
        return _refused("Token was not recognised")
    user = {"username": claims["user_name"], "version": claims.get("ver", 0)}
    if "ati" in claims or not db.row(STILL_GOOD, **user):
        return _refused("Token was not recognised")
    return Response(Claims(**claims), headers=NO_STORE)


def _refused(description: str) -> Response[OAuthError]:
    return Response(OAuthError(error="invalid_token", error_description=description), 400, NO_STORE)
