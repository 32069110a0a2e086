"""The whole and the Community Edition's profile, one after the other: OpenFaaS' gateway has one port."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import User
from tests.platforms.openfaas.cluster import PROFILES, OpenFaaS
from tests.stories.conftest import Stage, Tap
from tools.local.rabbitmq import RabbitMQ


@pytest.fixture(scope="session", params=PROFILES)
def system(
    request: pytest.FixtureRequest, directory: Path, secrets: Path, rabbitmq: RabbitMQ, fresh_database: Callable
) -> Iterator[OpenFaaS]:
    """A profile's functions, deployed and served."""
    profile = PROFILES[request.param]
    made = OpenFaaS(profile, directory / f"openfaas-{profile.name}", secrets, fresh_database(), rabbitmq)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="session")
def tap(system: OpenFaaS) -> Iterator[Tap]:
    """What a story's trace is read from."""
    made = Tap(system, system.exchange)
    yield made
    made.close()


@pytest.fixture
def stage(system: OpenFaaS, new_user: Callable[..., User], tap: Tap, audited: None) -> Stage:  # noqa: ARG001 - asked for what it does afterwards
    """The stage; after each story nothing may contradict what must always hold."""
    return Stage(system, new_user, tap)
