"""One place has the numbers of all retries; what the texts beside them say is true."""

import itertools

import pytest

from functions.order.redrive import RedriveSettings
from functions.shared.retry_policy import DISPATCHER, KNATIVE, RECONNECT, REDRIVE, UNAVAILABLE, Backoff
from tools.generate.manifests.knative import DELIVERY
from triggers.retries import RetrySettings


def test_waits_double_up_to_the_longest_and_then_stay():
    assert [1, 2, 4, 5, 5] == [*itertools.islice(Backoff(1, 5).waits(), 5)]
    assert 5 == Backoff(1, 5).wait(10**9)


def test_there_is_a_wait_less_than_tries():
    assert [1, 2] == [*Backoff(1, 5, tries=3).waits()]
    assert [] == [*Backoff(1, 5, tries=1).waits()]


@pytest.mark.parametrize(
    ("backoff", "least", "most"), [(DISPATCHER, 150, 210), (KNATIVE, 100, 104), (REDRIVE, 7000, 7700)]
)
def test_the_tries_last_as_long_as_is_said(backoff, least, most):
    assert least < sum(backoff.waits()) < most


@pytest.mark.parametrize("backoff", [UNAVAILABLE, RECONNECT])
def test_who_is_away_is_waited_for_without_end(backoff):
    assert backoff.longest == next(itertools.islice(backoff.waits(), 1000, None))


def test_settings_and_manifests_have_the_numbers_from_there():
    settings = RetrySettings()
    assert DISPATCHER == Backoff(
        settings.dispatcher_backoff_seconds, settings.dispatcher_longest_backoff_seconds, settings.dispatcher_tries
    )
    assert (REDRIVE.first, REDRIVE.tries) == (RedriveSettings().saga_deadline_seconds, RedriveSettings().saga_tries)
    assert {"retry": 8, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S", "timeout": "PT20S"} == DELIVERY
