"""List the users, for administrators."""

from functions.auth.accounts import ACCOUNTS
from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import Account, Accounts, UsersQuery


@rest("GET", "/auth-service/api/v1/users", caller="admin", refusal=admin_refusal)
def users_list(query: UsersQuery, db: Database) -> Accounts:
    """The users by id, page by page; who is not confirmed, or deleted, is not there."""
    return Accounts(users=tuple(Account(**user._asdict()) for user in db.rows(ACCOUNTS, **query.rows)))
