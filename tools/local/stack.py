"""The whole system on one machine: started in parallel, supervised, and stopped in order."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

from tools.install import install
from tools.local import children
from tools.local.banner import banner
from tools.local.children import Child
from tools.local.environment import ROOT, passed_on
from tools.local.installation import DATABASE, Installation
from tools.local.leftovers import Watchdog, end_leftovers
from tools.local.plan import Plan
from tools.local.postgres import Postgres
from tools.local.processes import StartFailed, last_lines, require_free, start_time, wait_until
from tools.local.rabbitmq import RabbitMQ, speaks_amqp
from tools.local.scrape import configuration
from tools.local.settings import LocalSettings
from tools.private_files import write_private

TICK = 0.1
PROGRESS_EVERY = 5
LONGEST_START = 300
STARTING_AT_ONCE = 3
HOPELESS = 3
SERVER_PAUSE = 5


def say(text: str) -> None:
    """Print at once, also when the output is a file."""
    print(text, flush=True)


def run(installation: Installation, each: bool) -> None:
    """Start all, keep it running until Ctrl-C or SIGTERM, stop what was started. Raises StartFailed."""
    claim = installation.claim()
    stopping = _stop_signals()
    try:
        if count := end_leftovers(installation.status()):
            say(f"ended {count} processes of a run that was killed")
        stack = Stack(installation, each, stopping)
        stack.require_ports()
        watchdog = Watchdog(installation)
        try:
            stack.up()
            stack.supervise()
        finally:
            try:
                stack.down()
            finally:
                watchdog.stop()
    finally:
        os.close(claim)


def _stop_signals() -> threading.Event:
    """Set when a signal asks to stop; one that is ignored, as after nohup, stays so."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: stopping.set())
    return stopping


class Stack:
    """One running system; `stopping` is set when it is time to end."""

    def __init__(self, installation: Installation, each: bool, stopping: threading.Event):
        from triggers.stack import load

        self.installation = installation
        self.stopping = stopping
        self.began = time.monotonic()
        install(installation.secrets)
        settings = LocalSettings.now()
        self.postgres = None if settings.database_url else installation.postgres()
        self.rabbitmq = None if settings.amqp_url else installation.rabbitmq()
        self.database = settings.database_url or self.postgres.url(DATABASE)
        self.amqp = settings.amqp_url or self.rabbitmq.url
        self.plan = Plan(installation, load(), each, self.database, self.amqp, forked=True)
        self._pool = ThreadPoolExecutor(2)
        self._next_report = float(PROGRESS_EVERY)
        self._servers: dict[str, Future] = {}
        self.ready = False

    def require_ports(self) -> None:
        """Raise StartFailed for a port that is taken, or wanted twice, before anything is started."""
        servers = {type(server).__name__: server for server in (self.postgres, self.rabbitmq) if server}
        wanted = {server.port: name for name, server in servers.items()}
        for name, port in self.plan.all_ports.items():
            variable = self.plan.variable(name)
            if port in wanted:
                raise StartFailed(f"port {port} is for {wanted[port]} and for {name}: set {variable} to another")
            wanted[port] = name
            require_free(port, name, variable)

    def up(self) -> None:
        """Start what can start at once; the broker when RabbitMQ answers; cron when all is ready."""
        self.installation.logs.mkdir(exist_ok=True)
        write_private(self.installation.function_urls, json.dumps(self.plan.urls, indent=2) + "\n")
        write_private(self.installation.prometheus_file, configuration(self.plan))
        triggers = self.plan.triggers
        self._servers["RabbitMQ"] = self._pool.submit(self._start_rabbitmq)
        self._servers["PostgreSQL"] = self._pool.submit(self._start_database)
        for child in (*self.plan.functions, triggers["gateway"]):
            self._wait(self._too_many_starting)
            self._start(child)
        self._wait(self._missing_servers)
        self._start(triggers["broker"])
        self._wait(self._not_ready)
        self._start(triggers["cron"])
        if not self.stopping.is_set():
            self.ready = True
            self._write_status()
            say(banner(self.installation, self.plan, time.monotonic() - self.began))

    def supervise(self) -> None:
        """Start again whatever ends, until it is time to stop."""
        while not self.stopping.wait(TICK):
            self._keep_children()
            self._keep_servers()

    def down(self) -> None:
        """Stop what was started: triggers first, then the functions, the servers last."""
        say("stopping")
        self._pool.shutdown()
        for together in self.plan.stop_order:
            for late in children.stop(together):
                say(f"{late} did not stop within {children.PATIENCE} s and was killed: see {self.installation.logs}")
        # A signal to the whole process group ends the fork server too, and with it what is known here of its forks.
        end_leftovers(self.installation.status())
        for server in filter(None, (self.rabbitmq, self.postgres)):
            server.stop()
        self.installation.run_file.unlink(missing_ok=True)
        say("stopped")

    def _start_rabbitmq(self) -> None:
        if self.rabbitmq:
            self.rabbitmq.start()
            return
        parts = urlsplit(self.amqp)
        where = (parts.hostname or "localhost", parts.port or 5672)
        if parts.scheme == "amqp" and not wait_until(lambda: speaks_amqp(*where), 5):
            raise StartFailed(f"AMQP_URL: expected a RabbitMQ server at {where[0]}:{where[1]}, none answers")

    def _start_database(self) -> None:
        if self.postgres:
            self.postgres.start()
        done = self._migrate()
        if done.returncode:
            raise StartFailed(f"migration: {done.stderr.strip()}")
        if done.stdout.strip() != "nothing to do":
            (self.installation.logs / "migrate.log").write_text(done.stdout)
            say(f"database migrated: see {self.installation.logs}/migrate.log")

    def _migrate(self) -> subprocess.CompletedProcess:
        """Migrate in a process of its own: what that imports would stay in memory here."""
        status = {"ADMIN_DATABASE_URL": self.database, "SECRETS_DIR": str(self.installation.secrets)}
        return subprocess.run(
            [sys.executable, "-m", "tools.migrate", "--create"],
            cwd=ROOT,
            env=passed_on(os.environ) | status,
            capture_output=True,
            text=True,
            start_new_session=True,
        )

    def _start(self, *planned: Child) -> None:
        if not self.stopping.is_set():
            for child in planned:
                child.start()
            self._write_status()

    def _wait(self, missing: Callable[[], list[str]]) -> None:
        """Wait until nothing is missing, and say now and then what is. Raises StartFailed in the end."""
        while (names := missing()) and not self.stopping.wait(TICK):
            self._keep_children()
            self._missing_servers()
            self._give_up_hopeless()
            self._report(", ".join(names))

    def _report(self, missing: str) -> None:
        seconds = time.monotonic() - self.began
        if seconds > LONGEST_START:
            raise StartFailed(f"not ready in {LONGEST_START} s: {missing}; see {self.installation.logs}")
        if seconds > self._next_report:
            self._next_report = seconds + PROGRESS_EVERY
            ready = sum(child.check() for child in self.plan.children)
            total = len(self.plan.children)
            say(f"{seconds:3.0f} s: {ready} of {total} processes are ready, waiting for {missing}")

    def _give_up_hopeless(self) -> None:
        """While the system starts, a process that keeps ending is a mistake that waiting does not mend."""
        for child in self.plan.children:
            if child.failures >= HOPELESS:
                raise StartFailed(f"{child.name} does not start: {last_lines(child.log, 1)}; see {child.log}")

    def _missing_servers(self) -> list[str]:
        """Those that are not there yet; raises what went wrong with one that will not be."""
        return [name for name, work in self._servers.items() if not work.done() or work.result()]

    def _too_many_starting(self) -> list[str]:
        """RabbitMQ takes longest to start: functions may not crowd it out."""
        starting = self._not_ready()
        return starting if len(starting) >= STARTING_AT_ONCE else []

    def _not_ready(self) -> list[str]:
        return [child.name for child in self.plan.children if child.process and not child.check()]

    def _keep_children(self) -> None:
        before = self._pids()
        for child in self.plan.children:
            if word := child.keep_running():
                say(word)
        if self._pids() != before:
            self._write_status()

    def _keep_servers(self) -> None:
        """Start a server again that ended, beside the rest: functions go on meanwhile, as far as they can."""
        for name, server in (("PostgreSQL", self.postgres), ("RabbitMQ", self.rabbitmq)):
            if server and not server.runs and self._servers[name].done():
                say(f"{name} ended, starting it again: see {server.log}")
                self._servers[name] = self._pool.submit(self._repair, name, server)

    def _repair(self, name: str, server: Postgres | RabbitMQ) -> None:
        try:
            server.start()
            self._write_status()
            say(f"{name} runs again")
        except StartFailed as problem:
            say(f"{problem}\ntrying again in {SERVER_PAUSE} s")
            self.stopping.wait(SERVER_PAUSE)

    def _pids(self) -> dict[str, int]:
        return {child.name: child.pid for child in self.plan.children if child.pid}

    def _server_pids(self) -> dict[str, int]:
        servers = {"PostgreSQL": self.postgres, "RabbitMQ": self.rabbitmq}
        return {name: server.pid for name, server in servers.items() if server and server.pid}

    def _write_status(self) -> None:
        """Write run.json: for the other commands, and for the next start should this process be killed."""
        status = {
            "pid": os.getpid(),
            "ready": self.ready,
            "gateway": self.installation.gateway,
            "broker": self.installation.broker,
            "database": self.database,
            "amqp": self.amqp,
            "functions": self.plan.urls,
            "processes": {name: [pid, start_time(pid)] for name, pid in self._pids().items()},
            "servers": {name: [pid, start_time(pid)] for name, pid in self._server_pids().items()},
        }
        write_private(self.installation.run_file, json.dumps(status, indent=2) + "\n")
