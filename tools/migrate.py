"""Bring a database up to the code: a role and a schema per owner, and its numbered SQL files, each once.

`python -m tools.migrate` reads the administrator's address from ADMIN_DATABASE_URL (or DATABASE_URL), and the
passwords that `python -m tools.install` made from SECRETS_DIR; ROLE_CONNECTIONS is how many connections each
role may have (none: any number). It is safe to run again, by two at once, and
while the old version of the functions still works: it waits three seconds for a lock, no longer, and tries
again. The administrator owns the tables (an owner's role could drop its own constraints otherwise); it need
not be a superuser, but has to own the database and be allowed to create roles.
"""

import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
from pg8000.native import Connection, DatabaseError, Error, identifier, literal
from pydantic import Field

from functions.shared.settings import Misconfigured, Settings, read_again
from tools.install import FUNCTIONS, SHARED, owners
from tools.role_url import role_url

LOCK = 3_665_646  # any number, as long as every migration of this system takes the same
TRIES = 10
LOCK_TIMEOUT = "3s"
# Lock timeout and deadlock; and what two migrations of two databases on one server do to each other's roles.
PASSING = {"55P03", "40P01", "42710", "23505", "XX000"}

ROLE = "SELECT coalesce(rolconfig, '{}') AS settings, rolconnlimit FROM pg_roles WHERE rolname = :owner"

MAKE_ROLE = "CREATE ROLE {owner} LOGIN PASSWORD {password}"

# Of the role and not of a connection: a pooler passes on none of what a connection asks for.
ROLE_SETTINGS = {
    "search_path": "{owner}",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "15s",
}

HAS_ADMIN = "SELECT FROM auth.users WHERE username = 'admin'"

ENDPOINTS_OF_DATABASE = """
    REVOKE ALL ON DATABASE {database} FROM PUBLIC;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""

SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS {owner};
    CREATE TABLE IF NOT EXISTS {owner}.migrations (
        name       text        PRIMARY KEY,
        sha256     text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    GRANT CONNECT ON DATABASE {database} TO {owner};
    GRANT USAGE ON SCHEMA {owner} TO {owner};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {owner} TO {owner};
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {owner} TO {owner};
    ALTER DEFAULT PRIVILEGES IN SCHEMA {owner} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {owner};
    ALTER DEFAULT PRIVILEGES IN SCHEMA {owner} GRANT USAGE, SELECT ON SEQUENCES TO {owner};
    REVOKE ALL ON {owner}.migrations FROM {owner};
"""


class DatabaseOfAll(Settings):
    """The database as its administrator has it; the second variable is what others call theirs."""

    admin_database_url: str | None = Field(
        default=None, pattern=r"^postgres(ql)?://", description="PostgreSQL address of the administrator"
    )
    database_url: str | None = Field(
        default=None, pattern=r"^postgres(ql)?://", description="the same, if ADMIN_DATABASE_URL is not set"
    )

    @property
    def url(self) -> str | None:
        """The address, if there is one."""
        return self.admin_database_url or self.database_url


class MigrationSettings(DatabaseOfAll):
    """What a migration reads from its environment."""

    secrets_dir: Path = Field(description="directory that python -m tools.install has filled")
    role_connections: int = Field(default=-1, ge=-1, description="connections that a role may have; -1: any number")


class MigrationFailed(Exception):
    """The database could not be brought up to the code; the text says where it stopped and what to do."""


def migrate(
    url: str,
    role_passwords: dict[str, str],
    root: Path = FUNCTIONS,
    admin_password: str | None = None,
    role_connections: int = -1,
) -> list[str]:
    """Do what is missing, and give a line for everything that was done. Raises MigrationFailed.

    An owner's role may have `role_connections` open at a time; -1 is any number.
    """
    with connected(url) as admin, _alone(admin):
        _prepare_database(admin)
        done: list[str] = []
        for owner in owners(root):
            done += _prepare(admin, owner, role_passwords, url)
            _patiently(f"role {owner}", admin, lambda owner=owner: _limit(admin, owner, role_connections))
            done += [f"{owner}: {name}" for name in _apply_files(admin, owner, root)]
        return done + _first_admin(admin, admin_password)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection to the database at `url`, closed at the end. Raises MigrationFailed when there is none."""
    parts = urlsplit(url)
    try:
        connection = Connection(
            user=unquote(parts.username or ""),
            password=unquote(parts.password) if parts.password else None,
            host=parts.hostname or "localhost",
            port=parts.port or 5432,
            database=parts.path.lstrip("/") or None,
        )
    except (Error, OSError) as problem:
        text = f"no connection to {parts.hostname}:{parts.port}: {_text(problem)}"
        raise MigrationFailed(text) from problem
    try:
        yield connection
    finally:
        with suppress(Error, OSError):
            connection.close()


def create_database(url: str) -> None:
    """Make the database that `url` names, unless it exists. Raises MigrationFailed."""
    parts = urlsplit(url)
    name = identifier(parts.path.lstrip("/"))
    try:
        with connected(url):
            return
    except MigrationFailed as problem:
        if _code(problem.__cause__) != "3D000":
            raise
    with connected(parts._replace(path="/postgres").geturl()) as admin:
        try:
            admin.run(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        except DatabaseError as problem:
            if _code(problem) not in {"42P04", "23505"}:  # another was first
                raise MigrationFailed(f"database {name}: {_text(problem)}") from problem


@contextmanager
def _alone(admin: Connection) -> Iterator[None]:
    """Keep a second migration waiting until this one is done; it then finds nothing to do."""
    admin.run("SET lock_timeout = 0; SET statement_timeout = 0; SET client_min_messages = warning")
    admin.run(f"SELECT pg_advisory_lock({LOCK})")
    admin.run(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    yield
    admin.run(f"SELECT pg_advisory_unlock({LOCK})")


@contextmanager
def _transaction(admin: Connection) -> Iterator[None]:
    admin.run("BEGIN")
    try:
        yield
        admin.run("COMMIT")
    except BaseException:
        with suppress(Error, OSError):
            admin.run("ROLLBACK")
        raise


def _patiently(what: str, admin: Connection, work: Callable[[], Any]) -> Any:
    """Run `work` in a transaction; again when a running system or another migration was in the way."""
    for left in reversed(range(TRIES)):
        try:
            with _transaction(admin):
                return work()
        except DatabaseError as problem:
            if left == 0 or _code(problem) not in PASSING:
                raise MigrationFailed(f"{what}: {_text(problem)}") from problem


def _prepare_database(admin: Connection) -> None:
    sql = ENDPOINTS_OF_DATABASE.format(database=_database(admin))
    _patiently("the database", admin, lambda: admin.run(sql))


def _database(admin: Connection) -> str:
    return identifier(admin.run("SELECT current_database()")[0][0])


def _prepare(admin: Connection, owner: str, passwords: dict[str, str], url: str) -> list[str]:
    """The owner's role and its own schema, and no other's."""
    if owner not in passwords:
        raise MigrationFailed(
            f"{owner}: expected its password in roles.json, found none: run `python -m tools.install`"
        )
    done = _patiently(f"role {owner}", admin, lambda: _keep_role(admin, owner, passwords[owner], url))
    statements = SCHEMA.format(owner=identifier(owner), database=_database(admin))
    _patiently(f"schema {owner}", admin, lambda: admin.run(statements))
    return done


def _keep_role(admin: Connection, owner: str, password: str, url: str) -> list[str]:
    words = {"owner": identifier(owner), "password": literal(password)}
    found = admin.run(ROLE, owner=owner)
    if not found:
        admin.run(MAKE_ROLE.format(**words))
    has = {setting.replace('"', "") for setting in found[0][0]} if found else set()
    for name, value in ROLE_SETTINGS.items():
        if f"{name}={value.format(owner=owner)}" not in has:
            quoted = identifier(owner) if value == "{owner}" else literal(value)
            admin.run(f"ALTER ROLE {identifier(owner)} SET {name} = {quoted}")
    if not found:
        return [f"{owner}: role"]
    if _lets_in(url, owner, password):
        return []
    admin.run("ALTER ROLE {owner} LOGIN PASSWORD {password}".format(**words))
    return [f"{owner}: password of the role"]


def _limit(admin: Connection, owner: str, connections: int) -> None:
    """An owner whose functions want more than their share must not take the others'."""
    if admin.run(ROLE, owner=owner)[0][1] != connections:
        admin.run(f"ALTER ROLE {identifier(owner)} CONNECTION LIMIT {connections:d}")


def _lets_in(url: str, owner: str, password: str) -> bool:
    """Whether the password is right; nothing else that may keep the role out matters here."""
    try:
        with connected(role_url(url, owner, password)):
            return True
    except MigrationFailed as problem:
        return _code(problem.__cause__) not in {"28P01", "28000"}


def _apply_files(admin: Connection, owner: str, root: Path) -> list[str]:
    known = dict(admin.run(f"SELECT name, sha256 FROM {identifier(owner)}.migrations"))
    return [name for name, path in _files(owner, root) if _apply(admin, owner, name, path, known.get(name))]


def _files(owner: str, root: Path) -> Iterator[tuple[str, Path]]:
    """The common tables first, then the owner's own, each folder by its numbers."""
    for folder in (SHARED, owner):
        for path in sorted((root / folder / "tables").glob("[0-9]*.sql")):
            yield f"{folder}/{path.name}", path


def _apply(admin: Connection, owner: str, name: str, path: Path, known: str | None) -> bool:
    """Run one file unless it is `known` (the sum of what was applied under this name); whether it was run."""
    text = path.read_text("utf-8")
    found = hashlib.sha256(text.encode()).hexdigest()
    if known is None:
        _patiently(f"{owner}: {path}", admin, lambda: _run_file(admin, owner, name, text, found))
    elif known != found:
        raise MigrationFailed(
            f"{owner}: {path} was applied with other words: never edit an applied file, "
            "take the change back and add a new file with the next number"
        )
    return known is None


def _run_file(admin: Connection, owner: str, name: str, text: str, sha256: str) -> None:
    admin.run(f"SET LOCAL search_path = {identifier(owner)}")
    admin.run(text)
    remember = f"INSERT INTO {identifier(owner)}.migrations (name, sha256) VALUES (:name, :sha256)"
    admin.run(remember, name=name, sha256=sha256)


def _first_admin(admin: Connection, password: str | None) -> list[str]:
    """Without an administrator nobody could make one; the owner of users knows how."""
    has_users = admin.run("SELECT to_regclass('auth.users') IS NOT NULL")[0][0]
    if not password or not has_users or admin.run(HAS_ADMIN):
        return []
    ensure = importlib.import_module("functions.auth.first_admin").ensure
    return ["auth: user admin"] if ensure(admin, password) else []


def _code(problem: BaseException | None) -> str:
    details = problem.args[0] if problem and problem.args else None
    return details.get("C", "") if isinstance(details, dict) else ""


def _text(problem: BaseException) -> str:
    details = problem.args[0] if problem.args else str(problem)
    return f"{details.get('M')} ({details.get('C')})" if isinstance(details, dict) else str(details)


@click.command(help=__doc__)
@click.option("--create", is_flag=True, help="make the database first if there is none")
def main(create: bool) -> None:
    """See the module's text."""
    try:
        settings = read_again(MigrationSettings)
        if not (url := settings.url):
            raise MigrationFailed("ADMIN_DATABASE_URL is not set: PostgreSQL address of the administrator")
        if create:
            create_database(url)
        passwords = json.loads((settings.secrets_dir / "roles.json").read_text())
        admin_password = (settings.secrets_dir / "admin-password").read_text()
        limit = settings.role_connections
        done = migrate(url, passwords, admin_password=admin_password, role_connections=limit)
    except OSError as problem:
        sys.exit(f"{problem.filename}: {problem.strerror}; `python -m tools.install` fills SECRETS_DIR")
    except (MigrationFailed, Misconfigured) as problem:
        sys.exit(str(problem))
    click.echo("\n".join(done) or "nothing to do")


if __name__ == "__main__":
    main()
