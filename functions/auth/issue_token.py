"""Log in by name and password, or go on with a refresh token."""

from functions.auth import grants
from functions.auth.attempts import AttemptSettings
from functions.auth.tokens import NO_STORE, TokenSettings
from functions.shared.bearer import KeySettings
from functions.shared.database import Database
from functions.shared.request import Request
from functions.shared.rest import Response, rest
from functions.shared.settings import require
from schemas.answers import Simple
from schemas.auth import TokenRequest, Tokens

require(KeySettings, TokenSettings, AttemptSettings)


@rest("POST", "/ui-api-service/api/v1/auth/token", caller="public", autocommit=True)
def issue_token(body: TokenRequest, request: Request, db: Database) -> Response[Tokens] | Simple:
    """Tokens for the one who knows the password or has a refresh token that was not used yet."""
    if body.refresh_token is None:
        tokens, refusal = grants.by_password(body.username, body.password, request, db), "Wrong password or login"
    else:
        tokens, refusal = (
            grants.by_refresh_token(body.refresh_token, db),
            "Wrong, used or expired refresh token",
        )
    return Response(tokens, headers=NO_STORE) if tokens else Simple.refused(refusal)
