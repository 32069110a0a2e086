"""Explain an event of the saga: who sends it, which function handles it, what goes out, which tables it touches.

`python -m tools.explain billing.withdraw` takes the type in full or short; without one, the whole chain is shown.
"""

import sys
from enum import StrEnum
from typing import Any

import click
from pydantic.json_schema import models_json_schema

from tools.declared import Declared, by_name, senders, steps
from triggers.stack import PREFIX, Unknown, by_event

# Ok is a yes, and Skipped was said by an earlier step.
NO_REFUSAL = ("Ok", "Skipped")
TROUBLE = """not now (database away, lock, an earlier step missing): 503, delivered again with a growing delay
never (no CloudEvent, wrong data): 500 with X-Retry: never, kept as a dead letter at once"""


def explain(event: str) -> str:
    """Everything about one event. Raises Unknown."""
    step = by_name(by_event(event).name)
    lines = [step.contract.takes.event_type, f"  {step.contract.takes.__doc__}", ""]
    for name, value in _facts(step):
        if value:
            first, *more = value.splitlines()
            lines += [f"{name + ':':<12}{first}", *(" " * 12 + text for text in more)]
    return "\n".join(lines)


def _facts(step: Declared) -> list[tuple[str, str]]:
    contract, function = step.contract, step.function
    written, read = step.tables
    opposite, file = step.opposite or ("", "")
    return [
        ("function", f"{function.name}, {function.source}"),
        ("does", f"{step.description}\n{step.summary}"),
        ("sent by", "\n".join(senders(contract.takes.short_type))),
        ("answers", "\n".join(model.short_type for model in contract.gives) or "nothing follows"),
        ("data", "\n".join(fields_of(contract.takes))),
        ("writes", ", ".join(f"{function.owner}.{table}" for table in sorted(written))),
        ("reads", ", ".join(f"{function.owner}.{table}" for table in sorted(read))),
        ("says no", "\n".join(refusals(step))),
        ("trouble", TROUBLE),
        (opposite.lower(), file),
        ("try it", f"make inject event={contract.takes.short_type}"),
    ]


def fields_of(model: type) -> list[str]:
    """The fields of an event's data with their types, as JSON has them."""
    _, schema = models_json_schema([(model, "validation")], ref_template="{model}")
    fields = schema["$defs"][model.__name__]["properties"]
    return [f"{name:<16}{_type(field, schema['$defs'])}" for name, field in fields.items()]


def _type(field: dict[str, Any], known: dict[str, Any]) -> str:
    target = known.get(field.get("$ref", ""), field)
    if "enum" in target:
        return " | ".join(target["enum"])
    if target["type"] == "array":
        inner = known[field["items"]["$ref"]]["properties"]
        return "list of " + ", ".join(f"{name} ({one['type']})" for name, one in inner.items())
    return target["type"] + (f", as {target['examples'][0]}" if "examples" in target else "")


def refusals(step: Declared) -> list[str]:
    """The statuses with which a step says no: data of the next event, and no error."""
    known = step.contract.takes.model_fields
    added = {
        name: field.annotation
        for model in step.contract.gives
        for name, field in model.model_fields.items()
        if name not in known and issubclass(field.annotation, StrEnum)
    }
    return [
        f"{wire_name(name)}: {', '.join(said for said in kind if said not in NO_REFUSAL)}"
        for name, kind in added.items()
    ]


def wire_name(field: str) -> str:
    """A field's name as it travels."""
    first, *more = field.split("_")
    return first + "".join(part.title() for part in more)


def chain() -> str:
    """A line for each event, in the order in which orders meet them."""
    rows = [("event", "function", "answers with", "what it does"), *map(_row, steps())]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(text.ljust(w) for text, w in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def _row(step: Declared) -> tuple[str, str, str, str]:
    answers = " or ".join(model.short_type for model in step.contract.gives) or "-"
    return step.contract.takes.short_type, step.function.name, answers, step.description.partition("\n")[0]


@click.command(help=__doc__)
@click.argument("event", required=False)
def main(event: str | None) -> None:
    """See the module's text."""
    try:
        click.echo(explain(event.removeprefix(PREFIX)) if event else chain())
    except Unknown as problem:
        click.echo(f"explain: {problem}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
