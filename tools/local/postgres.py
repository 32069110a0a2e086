"""A private PostgreSQL server with everything it needs in one directory."""

import os
import pwd
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from tools.local.processes import (
    StartFailed,
    command_line,
    end,
    last_lines,
    require_free,
    short_name,
    wait_until,
)
from tools.private_files import kept_password

SUPERUSER = "food_admin"
SYSTEM_USER = "postgres"  # PostgreSQL refuses to run as root
HOME_OF_DATA = Path("/var/lib/postgresql")
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path ends at 107 bytes: a deep clone is longer
    "max_connections": "300",
    "deadlock_timeout": "100ms",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "shared_buffers": "64MB",
}
# Counts what each statement costs, for `make bench`. Debian's server brings it; one that lacks it starts without.
STATEMENT_COUNTS = {"shared_preload_libraries": "pg_stat_statements"}
UNSAFE_BUT_FAST = {"fsync": "off", "full_page_writes": "off"}  # a killed server still keeps every commit


def find_binaries(version: str = "*") -> Path:
    """The folder of the newest PostgreSQL server installed. Raises StartFailed when there is none."""
    packaged = Path("/usr/lib/postgresql").glob(f"{version}/bin/initdb")
    newest = max(packaged, key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0), default=None)
    on_path = shutil.which("initdb")
    if newest or on_path:
        return (newest or Path(on_path)).parent
    raise StartFailed(
        "no PostgreSQL server found: install the package postgresql, or set DATABASE_URL to one's address"
    )


def _counts_statements(binaries: Path) -> bool:
    """Whether the library is there: without it a server that is to load it does not start."""
    return any((binaries.parent / "lib").glob("**/pg_stat_statements.so"))


class Postgres:
    """Start and stop one server; `directory` keeps its data, its log and its password between runs."""

    port_variable = "LOCAL_POSTGRES_PORT"

    def __init__(self, directory: Path, port: int, fast: bool = False):
        self.directory = Path(directory).absolute()
        self.port = port
        self.settings = SETTINGS | {"port": str(port)} | (UNSAFE_BUT_FAST if fast else {})
        self.fast = fast
        self.log = self.directory / "postgres.log"
        self._process: subprocess.Popen | None = None

    @property
    def password(self) -> str:
        """The superuser's password, made at the first start."""
        return kept_password(self.directory / "password")

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """The address of a database of this server, by default the superuser's."""
        secret = quote(password or self.password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process id of this directory's server, whoever started it; None when it does not run."""
        if self.runs:
            return self._process.pid
        with suppress(OSError, ValueError, IndexError):
            pid = int(self._status()[0])
            return pid if str(self.data) in command_line(pid) else None

    @property
    def runs(self) -> bool:
        """Whether the server that was started here still runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers. What an earlier run left behind is ended first."""
        if self.runs:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self._choose_place()
        binaries = self._binaries()
        require_free(self.port, "PostgreSQL", self.port_variable, patience=5 if self._end_leftover() else 0)
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster(binaries)
        if not wait_until(lambda: self._try_start(binaries), 15):
            raise StartFailed(f"PostgreSQL did not start; the end of {self.log}:\n{last_lines(self.log)}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server and wait for its end; `mode` as in pg_ctl: smart, fast or immediate."""
        self._end(STOP_SIGNALS[mode])

    def kill(self) -> None:
        """End the server as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self, mode: str = "fast") -> None:
        """Stop and start: every connection breaks, every committed row stays."""
        self.stop(mode)
        self.start()

    def remove(self) -> None:
        """Stop the server and delete everything it had."""
        self.stop("immediate")
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def data(self) -> Path:
        """Where the cluster is; elsewhere when the server's user cannot reach our directory."""
        moved = self.directory / "moved-to"
        return Path(moved.read_text()) if moved.exists() else self.directory / "data"

    def _choose_place(self) -> None:
        if self._user is None or self.data.exists() or self._reachable():
            return
        elsewhere = HOME_OF_DATA / f"food-{short_name(self.directory)}"
        (self.directory / "moved-to").write_text(str(elsewhere))
        print(f"{SYSTEM_USER} cannot reach {self.directory}: its data is in {elsewhere}", flush=True)

    @cached_property
    def _user(self) -> pwd.struct_passwd | None:
        """Whom the server runs as, when not as ourselves."""
        if os.geteuid() != 0:
            return None
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            raise StartFailed(
                f"there is no user {SYSTEM_USER}, and PostgreSQL refuses to run as root: "
                "install the package postgresql, or start as an ordinary user"
            ) from None

    def _as_user(self) -> dict:
        user = self._user
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}

    def _reachable(self) -> bool:
        command = ["/bin/sh", "-c", 'cd "$1"', "sh", str(self.directory)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, cwd="/", **self._as_user()).returncode == 0

    def _run(self, command: list[str], **more) -> subprocess.Popen:
        """Start a command of PostgreSQL as its user, apart from our terminal, with its words in the log."""
        with self.log.open("a") as log:
            return subprocess.Popen(
                command,
                cwd="/",
                stdin=more.pop("stdin", subprocess.DEVNULL),
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                **self._as_user(),
                **more,
            )

    def _binaries(self) -> Path:
        """An existing cluster is served by the version that made it while that is installed."""
        made_by = self.data / "PG_VERSION"
        with suppress(StartFailed, OSError):
            return find_binaries(made_by.read_text().strip())
        return find_binaries()

    def _make_cluster(self, binaries: Path) -> None:
        """Run initdb beside the final place, so that a run that was cut off leaves nothing half made."""
        fresh = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        if self._user:
            os.chown(fresh, self._user.pw_uid, self._user.pw_gid)
        if self._initdb(binaries, fresh) != 0:
            raise StartFailed(f"initdb failed; the end of {self.log}:\n{last_lines(self.log)}")
        fresh.rename(self.data)

    def _initdb(self, binaries: Path, fresh: Path) -> int:
        """The password goes through standard input: its file may be closed to the server's user."""
        command = [f"{binaries}/initdb", "-D", str(fresh), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"]
        command += ["-A", "scram-sha-256", "--pwfile=/dev/stdin", *(["--no-sync"] if self.fast else [])]
        reading, writing = os.pipe()
        os.write(writing, self.password.encode())
        os.close(writing)
        if self._user:
            os.fchown(reading, self._user.pw_uid, -1)
        try:
            return self._run(command, stdin=reading).wait()
        finally:
            os.close(reading)

    def _try_start(self, binaries: Path) -> bool:
        """Start once. It may fail for a moment while processes of a killed server are still ending."""
        settings = self.settings | (STATEMENT_COUNTS if _counts_statements(binaries) else {})
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = self._run([f"{binaries}/postgres", "-D", str(self.data), *options])
        wait_until(lambda: self._is_ready() or self._process.poll() is not None, 60)
        return self._process.poll() is None and self._is_ready()

    def _is_ready(self) -> bool:
        """The server says so in its pid file: nothing needs to connect to find out."""
        status = self._status()
        return len(status) >= 8 and status[0] == str(self._process.pid) and status[7].strip() == "ready"

    def _status(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _end(self, first: int) -> None:
        if pid := self.pid:
            end(pid, first, seconds=30)
        if self._process:
            self._process.wait()

    def _end_leftover(self) -> bool:
        """Whether there was a server that nobody stopped; its last processes may hold the port for a moment."""
        if pid := self.pid:
            end(pid, signal.SIGINT, seconds=30)
            return True
        left = bool(self._status())
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # its number may be another process's by now
        return left
