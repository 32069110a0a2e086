"""The dispatcher for OpenFaaS: serves the functions that its gateway lists, as they come and go.

A function's annotations say which events it takes: `topic: homework.arch.pay.sale`, or, where several functions
share a deployment, `events: pay-sale=homework.arch.pay.sale pay-refund=homework.arch.pay.refund`. One that is
deployed later gets its queue then. The queue of one that was removed stays, and keeps its events until it is
deployed again.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from logging import WARNING
from typing import Any

import urllib3
from pydantic import BaseModel, Field, TypeAdapter

from functions.shared.connections import Connections
from functions.shared.telemetry.logs import log
from triggers.ahead import Ahead
from triggers.amqp import GONE, Link
from triggers.calls import Outcome, Unavailable, outcome_of
from triggers.command import settings_for
from triggers.dispatcher import GRACE, finish, run
from triggers.stack import DEAD_LETTERS, PREFIX
from triggers.topology import Topology
from triggers.trigger import DispatcherSettings, Trigger
from triggers.turns import Turns

CONNECT_SECONDS = 2
LIST_SECONDS = 10
TOPIC = re.compile(rf"{re.escape(PREFIX)}[\w.]+|{DEAD_LETTERS}", re.ASCII)
# What a step never answers itself. The gateway says so of a function that is not deployed (404) or busy (429), and
# of a provider that it does not reach (502, 504).
AWAY = {404, 429, 502, 504}
FROM_THE_PROVIDER = "x-openfaas-internal"


class ConnectorSettings(DispatcherSettings):
    """What the connector reads from its environment."""

    connector_gateway_url: str = Field(pattern=r"^https?://", description="address of OpenFaaS' gateway")
    connector_rebuild_seconds: float = Field(default=10, gt=0, description="time between looks at the gateway's list")
    basic_auth_user: str = Field(default="admin", description="who asks the gateway for its functions")
    basic_auth_password: str = Field(default="", description="that user's password; none: no credentials are sent")


class Deployment(BaseModel):
    """The gateway's description of one function, as far as it matters here."""

    name: str
    annotations: dict[str, str] | None = None


LISTED = TypeAdapter(list[Deployment] | None)


@dataclass(frozen=True)
class Subscriber:
    """A function that takes events, and where it answers."""

    name: str
    topic: str
    url: str

    @property
    def event_type(self) -> str | None:
        """The type of the events that it takes; None for the dead-letter sink."""
        return None if self.topic == DEAD_LETTERS else self.topic


def subscribers(deployment: Deployment, gateway: str) -> Iterator[Subscriber]:
    """The functions of a deployment that take events: itself by its topic, those inside it by name."""
    notes, url = deployment.annotations or {}, f"{gateway}/function/{deployment.name}"
    inside = (pair.partition("=") for pair in notes.get("events", "").split())
    for subscriber in (
        Subscriber(deployment.name, notes.get("topic", ""), url),
        *(Subscriber(name, topic, f"{url}/function/{name}") for name, _, topic in inside),
    ):
        if TOPIC.fullmatch(subscriber.topic):
            yield subscriber


def meaning(status: int, headers: Any, body: bytes) -> Outcome:
    """What an answer means: the function's own, unless the event never got as far as the function."""
    # Not so a 500 of the provider: a function that this very event has killed looks the same.
    if status in AWAY or (status == 503 and FROM_THE_PROVIDER in headers):
        return Unavailable(f"{status} {body[:200].decode(errors='replace')}".strip())
    return outcome_of(status, headers, body)


class Connector:
    """The triggers of what the gateway lists, on one connection."""

    def __init__(self, settings: ConnectorSettings):
        self.settings, self.topology = settings, Topology.of(settings)
        self.triggers: list[Trigger] = []
        self.link = Link(settings.amqp_url, self._declare)
        self._turns = Turns(settings.dispatcher_at_a_time)
        self._ahead = Ahead(settings.dispatcher_ahead)
        self._gateway = settings.connector_gateway_url.rstrip("/")
        self._connections = Connections(CONNECT_SECONDS, LIST_SECONDS)
        self._stopping = asyncio.Event()
        self._following: asyncio.Task | None = None

    def start(self) -> None:
        """Begin to look at the gateway's list, and to consume."""
        self.link.start()
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self, seconds: float = GRACE) -> None:
        """As the dispatcher does."""
        self._stopping.set()
        await finish(self.link, self.triggers, seconds)

    def _declare(self, channel: Any) -> None:
        self.topology.declare(channel)
        for trigger in tuple(self.triggers):
            self.topology.declare_trigger(channel, trigger.function)

    async def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._serve(await asyncio.to_thread(self._listed))
            except Exception as problem:
                # Whatever is known is served on: the functions may well be there.
                log("gateway gave no list", level=WARNING, reason=f"{type(problem).__name__}: {problem}"[:500])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.settings.connector_rebuild_seconds)

    def _listed(self) -> set[Subscriber]:
        url = f"{self._gateway}/system/functions"
        answer = self._connections.request("GET", url, headers=self._credentials())
        if answer.status != 200:
            raise ValueError(f"expected 200, got {answer.status} {answer.body[:200].decode(errors='replace')}")
        deployments = LISTED.validate_json(answer.body) or []
        found = {each for deployment in deployments for each in subscribers(deployment, self._gateway)}
        return {each for each in found if not self.settings.wanted or each.name in self.settings.wanted}

    def _credentials(self) -> dict[str, str]:
        # For the list alone: what is sent with a call is passed on to the function.
        user, password = self.settings.basic_auth_user, self.settings.basic_auth_password
        return urllib3.make_headers(basic_auth=f"{user}:{password}") if password else {}

    async def _serve(self, wanted: set[Subscriber]) -> None:
        for trigger in [trigger for trigger in self.triggers if trigger.function not in wanted]:
            await self._drop(trigger)
        known = {trigger.function for trigger in self.triggers}
        if new := sorted(wanted - known, key=lambda subscriber: subscriber.name):
            await self._add(
                [
                    Trigger(one, self.settings, self.topology, one.url, meaning, self._turns, self._ahead)
                    for one in new
                ]
            )

    async def _add(self, triggers: list[Trigger]) -> None:
        self.triggers += triggers
        try:
            await self.link.declare()
        except GONE as problem:
            log("queues are made when RabbitMQ is back", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
        for trigger in triggers:
            trigger.start(self.link)
            self.link.subscribe(trigger.subscription)
            log("function served", function=trigger.function.name, type=trigger.function.topic)

    async def _drop(self, trigger: Trigger) -> None:
        self.triggers.remove(trigger)
        # What is in flight goes back to the queue; a step that has decided answers it from its decision.
        self.link.unsubscribe(trigger.subscription)
        trigger.stopping.set()
        self._ahead.remove(trigger)
        log("function gone, its queue stays", function=trigger.function.name, type=trigger.function.topic)


def main() -> None:
    """Dispatch until SIGTERM."""
    settings = settings_for(ConnectorSettings, __doc__)
    run(settings, lambda: Connector(settings))


if __name__ == "__main__":
    main()
