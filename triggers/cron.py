"""Cron: calls each scheduled function when it is due, as a cron connector does, with an empty POST.

A schedule is `@every 10s` (seconds, minutes, hours) or five cron fields. A run that is still going when the next
one is due is not doubled; a run that fails is logged, and the next one makes up for it.
"""

import re
import threading
from datetime import UTC, datetime, timedelta
from logging import WARNING

from cronsim import CronSim, CronSimError
from pydantic import Field

from functions.shared import installation
from functions.shared.connections import Connections
from functions.shared.settings import InstallationSettings
from functions.shared.telemetry import traces
from functions.shared.telemetry.logs import log
from triggers.addresses import CallSettings, address
from triggers.command import on_stop, settings_for
from triggers.metrics import (
    LAST_RUN,
    RUNS,
    MetricsSettings,
    check_metrics_port,
    serve_metrics,
    start_at_zero,
)
from triggers.stack import Function, load

EVERY = re.compile(r"@every ([1-9]\d*)([smh])")
CONNECT_SECONDS = 2
SECONDS = {"s": 1, "m": 60, "h": 3600}


class CronSettings(CallSettings, InstallationSettings, MetricsSettings):
    """Cron's settings."""

    cron_timeout_seconds: float = Field(default=60, gt=0, description="longest wait for a function's answer")
    cron_every_seconds: float = Field(default=0, ge=0, description="if set, the period of all @every schedules")


def next_run(schedule: str, after: datetime) -> datetime:
    """When a schedule is due next. Raises ValueError, which says what was expected."""
    if match := EVERY.fullmatch(schedule):
        return after + timedelta(seconds=int(match[1]) * SECONDS[match[2]])
    try:
        return next(CronSim(schedule, after))
    except (CronSimError, StopIteration) as problem:
        raise ValueError(f"schedule: expected `@every 10s` or five cron fields, got {schedule!r}") from problem


class Cron:
    """A thread for each scheduled function, so that none waits for another."""

    def __init__(self, settings: CronSettings):
        self.settings = settings
        self.stopped = threading.Event()
        self._connections = Connections(CONNECT_SECONDS, settings.cron_timeout_seconds)
        self.scheduled = [function for function in load() if function.schedule]
        start_at_zero([function.name for function in self.scheduled], ("done", "failed"), RUNS)
        for function in self.scheduled:
            try:
                next_run(function.schedule, datetime.now(UTC))
            except ValueError as problem:
                raise SystemExit(f"cannot start: {function.name}: {problem}") from None

    def start(self) -> None:
        """Begin to count."""
        for function in self.scheduled:
            threading.Thread(target=self._repeat, args=(function,), daemon=True).start()

    def _repeat(self, function: Function) -> None:
        while not self.stopped.wait(self._seconds_until_due(function)):
            self._call(function)

    def _seconds_until_due(self, function: Function) -> float:
        if self.settings.cron_every_seconds and EVERY.fullmatch(function.schedule):
            return self.settings.cron_every_seconds
        now = datetime.now(UTC)
        return (next_run(function.schedule, now) - now).total_seconds()

    def _call(self, function: Function) -> None:
        try:
            headers = {"X-Topic": "cron-function"} | installation.headers()
            answer = self._connections.request("POST", address(function.name), headers=headers)
            reason = None if answer.status == 200 else f"{answer.status} {answer.body[:500].decode(errors='replace')}"
        except Exception as problem:
            # Whatever it is: a schedule that is never due again would be worse.
            reason = f"{type(problem).__name__}: {problem}"
        RUNS.labels(function.name, "failed" if reason else "done").inc()
        if not reason:
            LAST_RUN.labels(function.name).set_to_current_time()
        else:
            log("scheduled run failed", level=WARNING, function=function.name, reason=reason)


def main() -> None:
    """Run until SIGTERM; a call in flight ends with the process, its function finishes on its own."""
    settings = settings_for(CronSettings, __doc__)
    check_metrics_port(settings)
    traces.check()
    cron = Cron(settings)
    stopped = on_stop(cron.stopped.set)
    cron.start()
    serve_metrics(settings)
    log("cron started", functions=len(cron.scheduled))
    stopped.wait()


if __name__ == "__main__":
    main()
