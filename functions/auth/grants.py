"""The two ways to tokens: name and password, or the refresh token of the login before."""

from uuid import UUID, uuid4

from functions.auth import attempts, passwords, tokens
from functions.shared.bearer import Unauthorized, claims_of
from functions.shared.database import Database
from functions.shared.request import Request
from functions.shared.settings import read
from schemas.auth import Tokens
from schemas.fields import plain_name

# How long the answer to a refresh may be asked for once more.
GRACE_SECONDS = 10

USER = """
    SELECT id, username, email, authorities, password, enabled, generation, token_version
      FROM accounts WHERE username = :username
"""

# The generation is the one read with the password: if it was revoked since, the login is worthless.
LOG_IN = """
    INSERT INTO logins (id, user_id, generation, jti, expires_at)
    VALUES (:login, :user_id, :generation, :jti, now() + make_interval(secs => :seconds))
"""

REHASH = "UPDATE accounts SET password = :new WHERE id = :id AND password = :old"

# A refresh token works once, and for some seconds more: its answer may have been lost, and who asks again is given
# the same next token. So of two uses at once, too, the second gets what the first got.
EXCHANGE = """
    UPDATE logins
       SET jti = CASE WHEN jti = :old THEN CAST(:new AS uuid) ELSE jti END,
           jti_before = :old,
           exchanged_at = CASE WHEN jti = :old THEN now() ELSE exchanged_at END,
           expires_at = now() + make_interval(secs => :seconds)
      FROM accounts
     WHERE logins.id = :login AND logins.expires_at > now()
       AND (jti = :old OR jti_before = :old AND exchanged_at > now() - make_interval(secs => :grace))
       AND accounts.id = user_id AND accounts.generation = logins.generation AND enabled
    RETURNING username, email, authorities, token_version, jti
"""

# One of the two that had the token has stolen it: neither goes on, and no access token of the user does.
END_FAMILY = """
    WITH ended AS (
        DELETE FROM logins WHERE id = :login RETURNING user_id
    )
    UPDATE users SET token_version = token_version + 1, tokens_revoked_at = now()
     WHERE id IN (SELECT user_id FROM ended)
"""


def by_password(username: str | None, password: str | None, request: Request, db: Database) -> Tokens | None:
    """Tokens for a new login; None, after the same time, for a wrong password, nobody and the disabled.

    Each statement is to be a transaction of its own. Raises attempts.TooManyAttempts.
    """
    if not username or not password:
        return None
    # Counted by the plain name: each way to write it would have attempts of its own.
    subjects = attempts.subjects_of(plain_name(username), request)
    attempts.count(subjects, db)
    user = db.row(USER, username=username) or db.row(USER, username=plain_name(username))
    if not passwords.fits(user and user.password, password) or not user.enabled:
        return None
    attempts.take_back(subjects, db)
    if passwords.is_outdated(user.password):
        db.rows(REHASH, id=user.id, old=user.password, new=passwords.hashed(password))
    login, jti = uuid4(), uuid4()
    db.rows(LOG_IN, login=login, user_id=user.id, generation=user.generation, jti=jti, seconds=_refresh_seconds())
    return tokens.issue(user, login, jti)


def by_refresh_token(token: str, db: Database) -> Tokens | None:
    """Tokens for the same login, about the user as it is now; None if the token is not good, or no longer.

    A token that was used before, and not just now, ends its login.
    """
    if (known := _login_of(token)) is None:
        return None
    login, old = known
    seconds = {"seconds": _refresh_seconds(), "grace": GRACE_SECONDS}
    user = db.row(EXCHANGE, login=login, old=old, new=uuid4(), **seconds)
    if user is None:
        db.rows(END_FAMILY, login=login)
        return None
    return tokens.issue(user, login, user.jti)


def _login_of(token: str) -> tuple[UUID, UUID] | None:
    """The login of a refresh token that we signed, and the token's own id."""
    try:
        claims = claims_of(token)
    except Unauthorized:
        return None
    return (UUID(claims["sid"]), UUID(claims["jti"])) if "ati" in claims else None


def _refresh_seconds() -> int:
    return read(tokens.TokenSettings).auth_refresh_seconds
