"""The first administrator, made when the tables are."""

from pg8000.native import Connection

from functions.auth import passwords

MAKE = """
    WITH made AS (
        INSERT INTO auth.users (username, password, first_name, middle_name, last_name, email, mobile_phone,
                                confirmed_at)
        VALUES ('admin', :password, 'admin', 'admin', 'admin', 'admin@localhost', '+000000000000', now())
        ON CONFLICT (username) DO NOTHING
        RETURNING id
    )
    INSERT INTO auth.user_roles (user_id, role_id)
    SELECT made.id, roles.id FROM made, auth.roles WHERE roles.name = 'ROLE_ADMIN'
    RETURNING user_id
"""


def ensure(connection: Connection, password: str) -> bool:
    """Make the user `admin` with ROLE_ADMIN, unless there is one; says whether it was made."""
    return bool(connection.run(MAKE, password=passwords.hashed(password)))
