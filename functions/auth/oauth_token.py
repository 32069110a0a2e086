"""The OAuth token endpoint: https://www.rfc-editor.org/rfc/rfc6749#section-3.2"""

from functions.auth import grants, oauth_client
from functions.auth.attempts import AttemptSettings, TooManyAttempts
from functions.auth.tokens import NO_STORE, TokenSettings
from functions.shared.bearer import KeySettings
from functions.shared.database import Database
from functions.shared.request import Request
from functions.shared.rest import Response, oauth_refusal, rest
from functions.shared.settings import require
from schemas.auth import GrantRequest, OAuthError, Tokens

require(KeySettings, TokenSettings, AttemptSettings, oauth_client.ClientSettings)


@rest("POST", "/oauth/token", caller="public", form=True, autocommit=True, refusal=oauth_refusal)
def oauth_token(body: GrantRequest, request: Request, db: Database) -> Response[Tokens | OAuthError]:
    """Tokens for the client, on behalf of a user."""
    oauth_client.check(request)
    try:
        return _granted(body, request, db)
    except TooManyAttempts as problem:
        error = OAuthError(error="temporarily_unavailable", error_description=str(problem))
        return Response(error, 429, NO_STORE | problem.headers)


def _granted(body: GrantRequest, request: Request, db: Database) -> Response[Tokens | OAuthError]:
    match body.grant_type:
        case "password":
            tokens, refusal = grants.by_password(body.username, body.password, request, db), "Bad credentials"
        case "refresh_token":
            tokens, refusal = grants.by_refresh_token(body.refresh_token or "", db), "Invalid refresh token"
        case None | "":
            return _refused("invalid_request", "Missing grant type")
        case other:
            return _refused("unsupported_grant_type", f"Unsupported grant type: {other}")
    return Response(tokens, headers=NO_STORE) if tokens else _refused("invalid_grant", refusal)


def _refused(error: str, description: str) -> Response[OAuthError]:
    return Response(OAuthError(error=error, error_description=description), 400, NO_STORE)
