"""What the functions about users share: whose name and phone, and which roles."""

from collections.abc import Sequence

from functions.shared.database import Database, Duplicate
from schemas.auth import RoleChoice

ADMIN, USER = "ROLE_ADMIN", "ROLE_USER"

_TAKEN = {
    "users_username_key": "Duplicate username",
    "users_mobile_phone_key": "Duplicate mobilePhone",
}

ROLES = "SELECT id, name FROM roles"

# What answers show of a user, and what those of the administration show beside it.
_PERSON = "username, first_name, middle_name, last_name, email, mobile_phone"
PERSON_BY_NAME = f"SELECT {_PERSON} FROM accounts WHERE username = :username"
ACCOUNT_BY_ID = f"SELECT id, roles, {_PERSON}, enabled FROM accounts WHERE id = :id"
ACCOUNTS = f"SELECT id, roles, {_PERSON}, enabled FROM accounts ORDER BY id LIMIT :size OFFSET :offset"


def taken(problem: Duplicate) -> str:
    """What somebody else has already, as clients know it. Raises the problem if no user's key is meant."""
    if problem.constraint not in _TAKEN:
        raise problem
    return _TAKEN[problem.constraint]


def names_of(choices: Sequence[RoleChoice], db: Database) -> tuple[list[str], list[str]]:
    """The names of the roles that were chosen, and what was chosen but does not exist."""
    name_of = {role.id: role.name for role in db.rows(ROLES)}
    names, unknown = [], []
    for choice in choices:
        name = choice.name if choice.id is None else name_of.get(choice.id)
        if name in name_of.values():
            names.append(name)
        else:
            unknown.append(str(choice.name if choice.id is None else choice.id))
    return names, unknown
