"""Forgetting what an owner handled for orders that are over: the inbox rows that the purge asks to delete."""

from pydantic import RootModel

from functions.shared.database import Database
from functions.shared.rest import rest

DELETE = "DELETE FROM inbox WHERE subject = ANY(CAST(:subjects AS text[]))"

forgetful = rest("POST", "/internal/forget", caller="internal")


class Subjects(RootModel[list[str]]):
    """What is to be forgotten: a JSON list of subjects."""


def forget_all(subjects: Subjects, db: Database) -> dict[str, str]:
    """Delete the inbox rows of `subjects`; natural keys go on guarding what was done."""
    db.rows(DELETE, subjects=subjects.root)
    return {"status": "OK"}
