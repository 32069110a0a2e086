"""Make a role, for administrators."""

from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import NewRole, RoleMade
from schemas.error_codes import not_done

MAKE = "INSERT INTO roles (name) VALUES (:name) ON CONFLICT (name) DO NOTHING RETURNING id, name"


@rest("POST", "/auth-service/api/v1/roles", caller="admin", refusal=admin_refusal)
def roles_create(body: NewRole, db: Database) -> RoleMade:
    """Make a role; no function of this system asks for it, clients' own may."""
    role = db.row(MAKE, name=body.name)
    return RoleMade(**role._asdict()) if role else RoleMade.refused(not_done("Duplicate role"))
