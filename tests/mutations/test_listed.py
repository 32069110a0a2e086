"""The list of mistakes fits the code as it is; that each is noticed takes longer, and `make mutations` says it."""

import ast

import pytest

from tests.mutations.listed import MUTATIONS
from triggers.stack import ROOT

every_mutation = pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])


@every_mutation
def test_a_mistake_applies_to_the_code_as_it_is_and_leaves_it_readable(mutation):
    assert ast.parse(mutation.applied())


@every_mutation
def test_the_test_of_a_mistake_is_there(mutation):
    path, _, name = mutation.test.partition("::")
    assert f"def {name}" in (ROOT / path).read_text("utf-8")


def test_there_are_twenty_at_least_and_no_two_alike():
    assert 20 <= len(MUTATIONS) == len({mutation.name for mutation in MUTATIONS})
