"""The documents say what the code does: their tables, commands and links, and the order of the README."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from schemas.events import ALL
from tests.system import eventually
from tools.generate import documents, schemas
from triggers.stack import ROOT

TEXTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in documents.DOCUMENTS}
README = TEXTS["README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCES = [found for text in TEXTS.values() for found in FENCE.findall(text)]
COMMANDS = "\n".join(body for language, body in FENCES if language == "sh")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
# Blanks of GitHub's anchors: a heading's words in small letters.
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def test_the_readme_is_short():
    assert len(README.encode()) <= 12 * 1024


def test_the_tables_of_the_documents_are_not_stale():
    assert [] == documents.stale(), "run make generate"


def test_a_stale_table_is_named_and_written_anew(tmp_path):
    worn = tmp_path / "README.md"
    worn.write_text(re.sub(r"order-list-orders", "order-gift", TEXTS["functions/README.md"]), "utf-8")

    assert worn in documents.stale([worn])
    assert "order-list-orders" in documents.filled(worn)


def test_a_section_that_no_document_has_is_named():
    assert "the section chain of a README" in documents.stale([ROOT / "functions" / "README.md"])


def test_every_make_target_that_a_document_names_exists():
    spans = "\n".join(re.findall(r"`([^`\n]+)`", "\n".join(TEXTS.values())))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", COMMANDS + spans))

    assert {"run", "test", "inject", "interop-api"} <= named
    assert named <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("document", TEXTS)
def test_every_file_that_a_document_names_exists(document):
    named = re.findall(r"`((?:functions|schemas|tools|triggers|tests|k8s)/[\w./-]*)`", TEXTS[document])
    linked = re.findall(r"\]\((?!https?:)([\w./-]*)(?:#[\w-]+)?\)", TEXTS[document])
    folder = (ROOT / document).parent

    assert [name for name in named if not (ROOT / name).exists() and not (folder / name).exists()] == []
    assert [name for name in linked if not (folder / name).exists()] == []


@pytest.mark.parametrize("document", TEXTS)
def test_every_heading_that_a_link_names_exists(document):
    for file, anchor in re.findall(r"\]\((?!https?:)([\w./-]*)#([\w-]+)\)", TEXTS[document]):
        target = (ROOT / document).parent / file if file else ROOT / document
        headings = HEADING.findall(target.read_text("utf-8"))
        assert anchor in [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings]


def test_every_function_file_and_module_of_a_command_exists():
    files = re.findall(r"--source (\S+) --target (\w+)", COMMANDS)
    modules = re.findall(r"python -m ((?:tools|triggers|schemas)(?:\.\w+)+)", COMMANDS)

    assert files and modules
    assert all((ROOT / source).exists() and Path(source).stem == target for source, target in files)
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert all(path.with_suffix(".py").exists() or (path / "__main__.py").exists() for path in paths)


def test_every_event_and_path_of_a_command_exists():
    paths = schemas.openapi()["paths"]
    events = re.findall(r"event=(\S+)", COMMANDS)

    assert events
    assert set(events) <= set(ALL)
    assert {f"/ui-api-service/api/v1/{path}" for path in re.findall(r"\$API/([\w/]+)", COMMANDS)} <= set(paths)


# Everything of the README's order up to the questions how it went, and those questions.
ORDERING, ASKING = next(body for _, body in FENCE.findall(README) if "auth/registration" in body).split(
    "\ncurl -s $API/external/order/find"
)
ASKING = "curl -s $API/external/order/find" + ASKING


def shell(script: str) -> list[dict]:
    """The answers of a script of curl commands."""
    output = subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout
    answers = []
    while output:
        answer, end = json.JSONDecoder().raw_decode(output)
        answers, output = [*answers, answer], output[end:]
    return answers


@pytest.mark.skipif(not shutil.which("curl"), reason="expected curl, as the README does; found none")
def test_the_order_of_the_readme_goes_as_it_says(gateway):
    ordering = ORDERING.replace("http://127.0.0.1:8000", gateway.base)
    token = re.search(r"TOKEN=.*?'\)$", ordering, re.DOTALL | re.MULTILINE)[0]
    head = ordering[: ordering.index("curl")]

    answers = shell(ordering)
    assert answers == [json.loads(line[2:]) for line in ordering.splitlines() if line.startswith("# {")]

    def notified():
        order, mails = shell(f"{head}\n{token}\n{ASKING}")
        # Asked one after the other: the mail may have come in between.
        return order["order"]["endedAt"] and mails["emails"] and (order["order"], mails["emails"])

    order, mails = eventually(notified, "the notification of the README's order")
    assert (order["status"], order["reason"]) == ("Completed", "Заказ успешно создан")
    assert [mail["message"] for mail in mails] == ["Заказ успешно создан"]


def test_a_commit_is_checked_by_the_commands_of_the_makefile_alone():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    entries = [hook["entry"] for hook in repo["hooks"]]
    targets = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)

    assert "local" == repo["repo"]
    assert {"make lint"} <= set(entries)
    assert all(entry.split()[0] == "make" and entry.split()[1] in targets for entry in entries)
    assert "make lint\n" in (ROOT / ".ci" / "run").read_text("utf-8")
