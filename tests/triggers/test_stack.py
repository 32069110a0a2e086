"""stack.yml, the files and the functions' own words agree, and the code keeps to the rules of its folders."""

import ast
import importlib.metadata
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tools.declared import declared, statements, tables_of
from tools.install import owners
from triggers.stack import DEAD_LETTERS, ROOT, by_event, load

FUNCTIONS = ROOT / "functions"
FILES = sorted(path for path in FUNCTIONS.glob("*/*.py") if path.parent.name != "shared")
DECORATORS = {"step", "rest", "scheduled"}
NAMES = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?(?:(\w+)\.)?(\w+)")
# A word of the business would say that a part of the kit belongs to one owner.
BUSINESS = {
    *("order", "orders", "dish", "dishs", "dishes", "courier", "couriers", "booking", "bookings", "reservation"),
    *("balance", "pay", "payment", "payments", "refund", "sale", "withdraw", "charge", "price", "amount"),
    *("food", "menu", "billing", "delivery", "notification", "mail", "mails"),
}
# Logs tell an order by its id under this name, and the system's log has the name of the system.
ALLOWED = {("step.py", "order"), ("logs.py", "food")}

every_function = pytest.mark.parametrize("entry", declared(), ids=lambda entry: entry.function.name)
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")


def functions_in(path):
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]


def decorators(function):
    names = (node.func if isinstance(node, ast.Call) else node for node in function.decorator_list)
    return {node.id for node in names if isinstance(node, ast.Name)}


def is_function_file(path):
    return any(f.name == path.stem or decorators(f) & DECORATORS for f in functions_in(path))


# stack.yml against the files


def test_every_function_file_is_in_stack_yml_and_the_other_way_round():
    assert {function.source for function in load()} == {
        str(path.relative_to(ROOT)) for path in FILES if is_function_file(path)
    }


@every_file
def test_a_function_file_has_one_function_and_its_name(path):
    assert [f.name for f in functions_in(path) if decorators(f) & DECORATORS] in ([], [path.stem])


@every_function
def test_name_target_and_file_are_the_same_words(entry):
    stem = Path(entry.function.source).stem

    assert entry.function.target == stem
    assert entry.function.name == f"{entry.function.owner}-{stem}".replace("_", "-")


@every_function
def test_no_file_would_take_the_place_of_a_module(entry):
    # The framework registers the file under its stem.
    assert entry.function.target not in sys.stdlib_module_names
    assert entry.function.target not in importlib.metadata.packages_distributions()


# stack.yml against the functions' own words


@every_function
def test_a_function_is_either_a_method_or_a_step_or_scheduled(entry):
    route, contract = entry.route, entry.contract
    kinds = {"route": bool(route), "contract": bool(contract), "scheduled": hasattr(entry.handle, "scheduled")}
    is_sink = entry.function.topic == DEAD_LETTERS

    assert sum(kinds.values()) == (0 if is_sink else 1)


@pytest.mark.parametrize("entry", [e for e in declared() if e.route], ids=lambda e: e.function.name)
def test_method_paths_and_caller_are_those_of_the_route(entry):
    listed, route = entry.function, entry.route

    assert (listed.method, listed.paths, listed.caller) == (route.method, route.paths, route.caller)


@pytest.mark.parametrize("entry", [e for e in declared() if e.contract], ids=lambda e: e.function.name)
def test_the_topic_is_the_type_that_the_step_takes(entry):
    assert entry.function.topic == entry.contract.takes.event_type
    assert entry.function.caller == "broker"


@pytest.mark.parametrize("entry", [e for e in declared() if e.contract], ids=lambda e: e.function.name)
def test_whatever_a_step_gives_has_a_function(entry):
    assert all(by_event(model.event_type) for model in entry.contract.gives)


def test_scheduled_functions_have_a_schedule_and_no_others():
    scheduled = {entry.function.name for entry in declared() if hasattr(entry.handle, "scheduled")}

    assert scheduled == {function.name for function in load() if function.schedule}
    assert scheduled == {function.name for function in load() if function.caller == "cron"}


def test_no_two_public_functions_share_a_path_and_a_method():
    listed = [(f.method, path) for f in load() if f.is_public for path in f.paths]

    assert len(listed) == len(set(listed))


# Whose tables, whose words


@every_file
def test_an_owner_names_its_own_tables_only(path):
    owner = path.parent.name
    others = {name for other in owners() if other != owner for name in tables_of(other)} - tables_of(owner)

    for schema, table in NAMES.findall(sql_of(path)):
        assert schema in ("", owner)
        assert table not in others


def sql_of(path):
    texts = (node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant))
    return "\n".join(text for text in texts if isinstance(text, str))


def test_the_tables_of_the_owners_are_found():
    assert tables_of("billing") == {"clients", "charges", "movements", "idempotency_keys"}
    assert any("UPDATE clients" in sql for entry in declared() for sql in statements(entry.module))


@pytest.mark.parametrize("path", sorted((FUNCTIONS / "shared").glob("*.py")), ids=lambda path: path.name)
def test_the_kit_has_no_word_of_the_business(path):
    found = words_of(ast.parse(path.read_text("utf-8")))

    assert {(path.name, word) for word in found & BUSINESS} <= ALLOWED


def words_of(tree):
    """The words in names and texts, docstrings apart."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = []
    for node in ast.walk(tree):
        texts += [getattr(node, name, None) for name in ("id", "attr", "arg", "name")]
        if isinstance(node, ast.Constant) and id(node) not in documents:
            texts.append(node.value)
    return {word.lower() for text in texts if isinstance(text, str) for word in re.findall("[A-Z]?[a-z]+", text)}


# Sizes


def test_functions_are_short():
    paths = (path for folder in ("functions", "triggers", "tools") for path in (ROOT / folder).rglob("*.py"))
    lengths = sorted(f.end_lineno - f.lineno + 1 for path in paths for f in functions_in(path))

    assert statistics.median(lengths) <= 8
    assert lengths[len(lengths) * 9 // 10] <= 25


# What a function costs to start


def imported_by(source):
    """The modules that a function's file brings in, in a process with an empty environment."""
    script = f"import sys, runpy; runpy.run_path({str(ROOT / source)!r}); print(*sys.modules)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("entry", [e for e in declared() if e.contract], ids=lambda e: e.function.name)
def test_a_step_starts_without_what_it_does_not_use(entry):
    loaded = imported_by(entry.function.source)

    assert not loaded & {"jwt", "Cryptodome", "argon2", "pika", "yaml", "uvicorn", "greenlet", "flask", "cronsim"}


def test_keys_are_listed_without_hashing_passwords():
    assert not imported_by("functions/auth/jwks.py") & {"argon2", "pika", "yaml"}


def test_an_internal_method_starts_without_the_keys_of_tokens():
    assert not imported_by("functions/billing/internal_add.py") & {"jwt", "Cryptodome", "argon2", "pika"}
