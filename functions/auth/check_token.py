"""Tell an application what an access token says, and whether it is good."""

from functions.auth import oauth_client
from functions.auth.tokens import NO_STORE
from functions.shared.bearer import Expired, KeySettings, Unauthorized, claims_of
from functions.shared.database import Database
from functions.shared.request import Request
from functions.shared.rest import Response, oauth_refusal, rest
from functions.shared.settings import require
from schemas.auth import Claims, OAuthError, TokenCheck

require(KeySettings, oauth_client.ClientSettings)

STILL_THERE = "SELECT id FROM accounts WHERE username = :username AND enabled"


@rest("POST", "/oauth/check_token", caller="public", form=True, refusal=oauth_refusal)
def check_token(body: TokenCheck, request: Request, db: Database) -> Response[Claims | OAuthError]:
    """The claims of a good access token; that of a user who was disabled or deleted since is not good."""
    oauth_client.check(request)
    try:
        claims = claims_of(body.token)
    except Expired:
        return _refused("Token has expired")
    except Unauthorized:
        return _refused("Token was not recognised")
    if "ati" in claims or not db.row(STILL_THERE, username=claims["user_name"]):
        return _refused("Token was not recognised")
    return Response(Claims(**claims), headers=NO_STORE)


def _refused(description: str) -> Response[OAuthError]:
    return Response(OAuthError(error="invalid_token", error_description=description), 400, NO_STORE)
