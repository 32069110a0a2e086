"""List the roles, for administrators."""

from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import Role, Roles, RolesQuery

READ = "SELECT id, name FROM roles ORDER BY id LIMIT :size OFFSET :offset"


@rest("GET", "/auth-service/api/v1/roles", caller="admin", refusal=admin_refusal)
def roles_list(query: RolesQuery, db: Database) -> Roles:
    """The roles by id, page by page."""
    return Roles(roles=tuple(Role(**role._asdict()) for role in db.rows(READ, **query.rows)))
