"""A secret is changed in three steps, and at every moment what one part sends another part knows."""

import json

import pytest

from functions.shared.bearer import END
from tools.install import install
from tools.rotate import FILES, begin, finish, secrets

ADDRESS = "food-db-pooler.food:5432/food"


@pytest.fixture
def values(tmp_path) -> dict[str, str]:
    install(tmp_path)
    return {path.name: path.read_text() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("what", FILES)
def test_between_begin_and_finish_both_are_known_and_afterwards_the_new_one_alone(values, what):
    old = secrets(what, values, ADDRESS, "finish")
    begun = begin(what, values)
    both = secrets(what, begun, ADDRESS, "switch")
    new = secrets(what, finish(what, begun), ADDRESS, "finish")

    joint = "." if what == "token" else "\n"
    for name in old:
        assert old[name].strip() != new[name].strip()
        known = [new[name].strip()] if name == "jwt-private-key" else [new[name].strip(), old[name].strip()]
        assert joint.join(known) == both[name].strip()


@pytest.mark.parametrize("what", FILES)
def test_a_step_that_is_run_again_changes_nothing(values, what):
    begun = begin(what, values)

    assert begun == begin(what, begun)
    assert finish(what, begun) == finish(what, finish(what, begun))
    assert {*values} == {*finish(what, begun)}


def test_the_old_key_signs_until_everybody_knows_the_new_one(values):
    begun = begin("jwt", values)
    first, then = (secrets("jwt", begun, ADDRESS, step) for step in ("begin", "switch"))

    assert values["jwt-private.pem"] == first["jwt-private-key"]
    assert begun["jwt-private.pem"] == then["jwt-private-key"]
    assert 2 == first["jwt-public-key"].count(END) == then["jwt-public-key"].count(END)


def test_every_owner_gets_a_password_of_its_own(values):
    before, after = (json.loads(each["roles.json"]) for each in (values, begin("database", values)))

    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    assert len(set(after.values())) == len(after)
