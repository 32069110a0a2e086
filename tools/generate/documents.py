"""Write the tables of the documents from stack.yml, the steps' contracts, the settings and the Makefile.

They stand between markers of their own in README files that are otherwise written by hand.
"""

import importlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from functions.shared.settings import Settings
from tools.declared import Declared, declared, senders, steps
from tools.generate.manifests import sizes
from triggers.stack import DEAD_LETTERS, PREFIX, ROOT

# Every document that people read: those at the top, and the README of each folder.
FOLDERS = ("functions", "k8s", "schemas", "tests", "tools", "triggers")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("README.md"))])
SECTION = re.compile(r"(<!-- (\w+): written by `make generate` -->\n).*?(<!-- end of \w+ -->)", re.DOTALL)
LINK = re.compile(r"\]\(([\w./-]+)\)")
TARGET = re.compile(r"^([a-z-]+):.*## (.*)$", re.MULTILINE)
Row = tuple[str, ...]


def picture() -> str:
    """The chain as a Mermaid flowchart: who sends which event to whom."""
    lines = [
        f"    {sender} -- {step.contract.takes.short_type} --> {step.function.name}"
        for step in steps()
        for sender in senders(step.contract.takes.short_type)
        if sender != "order-redrive"
    ]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


def chain() -> str:
    """A row for each step."""
    return table(("event", "function", "what it does", "answers with", "undo"), map(_step, steps()))


def _step(step: Declared) -> Row:
    source, contract = step.function.source, step.contract
    what = re.sub(r" (Undone by|Undoes) \w+\.py\.", "", step.description.partition("\n")[0])
    answers = " or ".join(f"`{model.short_type}`" for model in contract.gives) or "nothing"
    word, file = step.opposite or ("", "")
    undo = f"{word.lower()} [{file.rpartition('/')[2]}]({file})" if file else ""
    return f"`{contract.takes.short_type}`", f"[{step.function.name}]({source})", what, answers, undo


def functions() -> str:
    """A row for each function, in the order of stack.yml."""
    return table(("function", "started by", "who may", "what it does"), map(_function, declared()))


def _function(entry: Declared) -> Row:
    function = entry.function
    what = re.sub(r" (Undone by|Undoes) \w+\.py\.", "", entry.description.partition("\n")[0])
    return f"[{function.name}]({function.source})", _start(entry), function.caller, what


def _start(entry: Declared) -> str:
    function = entry.function
    if function.schedule:
        return f"schedule `{function.schedule}`"
    if function.topic == DEAD_LETTERS:
        return "every dead letter"
    if function.topic:
        return f"event `{function.topic.removeprefix(PREFIX)}`"
    return "<br>".join(f"`{function.method} {path}`" for path in function.paths)


def settings() -> str:
    """A row for each environment variable and default of functions and triggers, with those who read it."""
    return _settings_table("functions", "triggers")


def command_settings() -> str:
    """The same of the commands."""
    return _settings_table("tools")


def _settings_table(*folders: str) -> str:
    found: dict[tuple[str, str, str], list[str]] = {}
    for model in sorted(_models(folders), key=lambda model: (model.__module__, model.__name__)):
        for name in vars(model).get("__annotations__", ()):
            field = model.model_fields[name]
            default = "required" if field.is_required() else _default(field.default)
            found.setdefault((name, default, field.description or ""), []).append(_reader(model))
    rows = [
        (f"`{name.upper()}`", default, what, ", ".join(by)) for (name, default, what), by in sorted(found.items())
    ]
    return table(("variable", "default", "meaning", "declared in"), rows)


def _default(value: Any) -> str:
    """As it is typed, a path of ours from the root of the repository."""
    return f"`{value}`".replace(f"{ROOT}/", "") if value else "none"


def _models(folders: Sequence[str]) -> set[type[Settings]]:
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        if "Settings)" in path.read_text("utf-8"):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return {model for model in _subclasses(Settings) if model.__module__.partition(".")[0] in folders}


def _subclasses(model: type[Settings]) -> Iterator[type[Settings]]:
    for each in model.__subclasses__():
        yield each
        yield from _subclasses(each)


def _reader(model: type) -> str:
    file = model.__module__.replace(".", "/") + ".py"
    return f"[{file.partition('/')[2].removesuffix('.py')}]({file})"


def commands() -> str:
    """A row for each target of the Makefile."""
    targets = TARGET.findall((ROOT / "Makefile").read_text("utf-8"))
    return table(("command", "what it does"), [(f"`make {name}`", what.replace("|", "or")) for name, what in targets])


def asked() -> str:
    """What a first deployment of each overlay asks for."""
    what = "pods", "processors", "memory"
    return table(("overlay", *what, *(f"{each}, at rest" for each in what)), sizes.asked_table())


def connections() -> str:
    """Connections to PostgreSQL, by overlays."""
    of_pooler = "functions want", "pooler takes", "for each role", "pooler opens"
    return table(("overlay", *of_pooler, "beside it", "max_connections"), sizes.connections_table())


def table(head: Row, rows: Any) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


SECTIONS = {
    "picture": picture,
    "chain": chain,
    "functions": functions,
    "settings": settings,
    "commands": commands,
    "command_settings": command_settings,
    "asked": asked,
    "connections": connections,
}


def filled(document: Path) -> str:
    """A document's text with every section as the code has it now, its links relative to the document."""
    return SECTION.sub(lambda found: _section(found, document.parent), document.read_text("utf-8"))


def _section(found: re.Match[str], folder: Path) -> str:
    text = LINK.sub(lambda link: f"]({os.path.relpath(ROOT / link[1], folder)})", SECTIONS[found[2]]())
    return f"{found[1]}\n{text}\n\n{found[3]}"


def stale(documents: list[Path] | None = None) -> list[Path | str]:
    """The documents that say something else than the code, and the sections that none of them has."""
    documents = DOCUMENTS if documents is None else documents
    texts = {document: document.read_text("utf-8") for document in documents}
    written = {found[2] for text in texts.values() for found in SECTION.finditer(text)}
    missing = [f"the section {name} of a README" for name in SECTIONS if name not in written]
    return [document for document, text in texts.items() if filled(document) != text] + missing


def write() -> None:
    """Fill every section anew."""
    for document in DOCUMENTS:
        text = filled(document)
        if text != document.read_text("utf-8"):
            document.write_text(text, "utf-8")
