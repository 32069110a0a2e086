"""The two ways to tokens: name and password, or the refresh token of the login before."""

from uuid import UUID, uuid4

from functions.auth import passwords, tokens
from functions.shared.bearer import Unauthorized, claims_of
from functions.shared.database import Database
from functions.shared.settings import read
from schemas.auth import Tokens
from schemas.fields import plain_name

USER = """
    SELECT id, username, email, authorities, password, enabled, generation
      FROM accounts WHERE username = :username
"""

# The generation is the one read with the password: if it was revoked since, the login is worthless.
LOG_IN = """
    INSERT INTO logins (id, user_id, generation, jti, expires_at)
    VALUES (:login, :user_id, :generation, :jti, now() + make_interval(secs => :seconds))
"""

REHASH = "UPDATE accounts SET password = :new WHERE id = :id AND password = :old"

# Of two uses of one refresh token the second finds another jti.
EXCHANGE = """
    UPDATE logins SET jti = :new, expires_at = now() + make_interval(secs => :seconds)
      FROM accounts
     WHERE logins.id = :login AND logins.jti = :old AND logins.expires_at > now()
       AND accounts.id = user_id AND accounts.generation = logins.generation AND enabled
    RETURNING username, email, authorities
"""

LOG_OUT = "DELETE FROM logins WHERE id = :login"


def by_password(username: str | None, password: str | None, db: Database) -> Tokens | None:
    """Tokens for a new login; None, after the same time, for a wrong password, nobody and the disabled."""
    if not username or not password:
        return None
    user = db.row(USER, username=username) or db.row(USER, username=plain_name(username))
    if not passwords.fits(user and user.password, password) or not user.enabled:
        return None
    if passwords.is_outdated(user.password):
        db.rows(REHASH, id=user.id, old=user.password, new=passwords.hashed(password))
    login, jti = uuid4(), uuid4()
    db.rows(LOG_IN, login=login, user_id=user.id, generation=user.generation, jti=jti, seconds=_refresh_seconds())
    return tokens.issue(user, login, jti)


def by_refresh_token(token: str, db: Database) -> Tokens | None:
    """Tokens for the same login, about the user as it is now; None if the token is not good, or no longer.

    A token that was used before ends its login: one of the two that had it has stolen it.
    """
    if (known := _login_of(token)) is None:
        return None
    login, old = known
    new = uuid4()
    user = db.row(EXCHANGE, login=login, old=old, new=new, seconds=_refresh_seconds())
    if user is None:
        db.rows(LOG_OUT, login=login)
        return None
    return tokens.issue(user, login, new)


def _login_of(token: str) -> tuple[UUID, UUID] | None:
    """The login of a refresh token that we signed, and the token's own id."""
    try:
        claims = claims_of(token)
    except Unauthorized:
        return None
    return (UUID(claims["sid"]), UUID(claims["jti"])) if "ati" in claims else None


def _refresh_seconds() -> int:
    return read(tokens.TokenSettings).auth_refresh_seconds
