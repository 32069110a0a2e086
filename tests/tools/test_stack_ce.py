"""stack-ce.yml: every function of stack.yml, in as many deployments as the Community Edition runs."""

import pytest
import yaml

from tools.generate import stack_ce
from tools.generate.stack_ce import FILE, MOST, deployments, profile
from triggers.stack import DEAD_LETTERS, ROOT, load


def listed(path):
    return yaml.safe_load(path.read_text("utf-8"))["functions"]


WHOLE, SMALL = listed(ROOT / "stack.yml"), listed(FILE)
OWNERS = {function.owner for function in load()}


def of(owner):
    return [WHOLE[function.name] for function in load() if function.owner == owner]


def test_the_file_is_what_stack_yml_makes_it():
    assert profile() == FILE.read_text("utf-8")


def test_it_has_no_more_deployments_than_the_edition_runs():
    assert len(SMALL) <= MOST


def test_there_is_one_for_each_owner_and_one_for_each_schedule():
    assert set(SMALL) == OWNERS | {function.name for function in load() if function.schedule}


@pytest.mark.parametrize("owner", sorted(OWNERS))
def test_an_owners_deployment_has_all_secrets_and_variables_of_its_functions(owner):
    of_one = {"FUNCTION_SOURCE", "FUNCTION_TARGET"}

    assert set(SMALL[owner]["secrets"]) == {name for entry in of(owner) for name in entry.get("secrets", [])}
    assert set(SMALL[owner]["environment"]) == {
        name for entry in of(owner) for name in entry["environment"] if name not in of_one
    } | {"THREADS"}


def test_every_type_of_event_goes_to_its_function():
    notes = " ".join(entry["annotations"].get("events", "") for entry in SMALL.values())
    topics = {(f.name, f.topic) for f in load() if f.event_type or f.topic == DEAD_LETTERS}

    assert {tuple(pair.split("=")) for pair in notes.split()} == topics


def test_no_deployment_has_a_list_of_topics_or_two_schedules():
    notes = [entry["annotations"] for entry in SMALL.values()]

    assert all("," not in each.get("topic", "") and ";" not in each.get("schedule", "") for each in notes)


@pytest.mark.parametrize("name", [function.name for function in load() if function.schedule])
def test_a_scheduled_function_is_deployed_as_in_stack_yml(name):
    mine, theirs = SMALL[name], WHOLE[name]

    assert theirs["annotations"] == mine["annotations"]
    assert theirs["image"] == mine["image"]
    assert set(theirs["environment"]) == set(mine["environment"])


def test_calls_of_other_functions_go_to_the_owners_deployment():
    addresses = {e["environment"]["FUNCTION_URL"] for e in SMALL.values() if "FUNCTION_URL" in e["environment"]}

    assert {"${OPENFAAS_INSIDE:-http://gateway.openfaas:8080}/function/{owner}/function/{name}"} == addresses


def test_an_owner_without_events_is_not_for_the_connector():
    assert "events" not in deployments(WHOLE)["auth"]["annotations"]


def test_more_deployments_than_the_edition_runs_are_refused(monkeypatch):
    monkeypatch.setattr(stack_ce, "MOST", 3)
    with pytest.raises(SystemExit, match="expected at most 3 deployments"):
        profile()


def test_a_stale_file_is_found_and_written_anew(monkeypatch, tmp_path):
    file = tmp_path / "stack-ce.yml"
    monkeypatch.setattr(stack_ce, "FILE", file)
    assert [file] == stack_ce.stale()
    stack_ce.write()
    assert [] == stack_ce.stale()
    assert profile() == file.read_text("utf-8")
