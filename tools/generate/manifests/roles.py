"""The roles of the owners as SQL, for databases where the migration may not make roles itself."""

from tools.generate.manifests.listed import owners
from tools.migrate import ROLE_SETTINGS

HEAD = """\
-- Written by `make generate` from stack.yml. The migration makes these roles itself where it may (CREATEROLE).
-- Where it may not, an administrator applies this before, with the passwords that `python -m tools.install` made:
--   psql {variables} -f k8s/roles.sql
"""
ROLE = """
SELECT 'CREATE ROLE "{owner}"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') \\gexec
ALTER ROLE "{owner}" LOGIN PASSWORD :'{owner}';
"""
SETTING = """\
ALTER ROLE "{owner}" SET {name} = {value};
"""


def roles() -> str:
    """A role for each owner, which sees its own schema; safe to apply again."""
    variables = " ".join(f"-v {owner}=..." for owner in owners()[:2]) + " ..."
    return HEAD.format(variables=variables) + "".join(map(_role, owners()))


def _role(owner: str) -> str:
    values = {name: f'"{owner}"' if name == "search_path" else f"'{value}'" for name, value in ROLE_SETTINGS.items()}
    settings = (SETTING.format(owner=owner, name=name, value=value) for name, value in values.items())
    return ROLE.format(owner=owner) + "".join(settings)
