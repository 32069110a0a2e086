"""The order in which things go wrong: the seed's, and everything before anything comes again."""

from collections import Counter

from tests.chaos.faults import possible, schedule
from tests.chaos.world import LONGER_THAN_EVERY_TIMEOUT
from triggers.stack import load


def test_a_seed_gives_the_same_faults_again():
    assert schedule(7, 100) == schedule(7, 100) != schedule(8, 100)


def test_every_fault_happens_before_any_comes_again():
    everything = possible()
    faults = [(fault.kind, fault.target) for fault in schedule(1, 2 * len(everything))]

    assert Counter(faults[: len(everything)]) == Counter(everything)
    assert Counter(faults[len(everything) :]) == Counter(everything)


def test_they_are_spread_over_the_run_in_order():
    at = [fault.at for fault in schedule(3, 50)]
    assert at == sorted(at) and at[0] < 0.02 and at[-1] > 0.98


def test_some_last_for_longer_than_every_timeout():
    kinds = {fault.kind for fault in schedule(5, 500) if fault.seconds == LONGER_THAN_EVERY_TIMEOUT}
    assert kinds == {"freeze", "stall"}


def test_every_owner_and_every_step_is_hit():
    targets = {target for _, target in possible()}
    assert {function.owner for function in load()} | {f.name for f in load() if f.event_type} <= targets
