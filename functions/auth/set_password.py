"""Give a user another password, for administrators."""

from functions.auth import passwords
from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import NewPassword, PasswordChanged
from schemas.error_codes import USER_NOT_FOUND

CHANGE = "UPDATE accounts SET password = :password, generation = generation + 1 WHERE id = :id RETURNING id"


@rest("POST", "/auth-service/api/v1/password", caller="admin", refusal=admin_refusal)
def set_password(body: NewPassword, db: Database) -> PasswordChanged:
    """Change a password, which ends every login of its user."""
    if user := db.row(CHANGE, id=body.id, password=passwords.hashed(body.password)):
        return PasswordChanged(id=user.id, changed=True)
    return PasswordChanged.refused(USER_NOT_FOUND)
