"""Forget the handled events of orders that are over; asked for by the purge of the orders."""

from functions.shared.database import Database
from functions.shared.forget import Subjects, forget_all, forgetful


@forgetful
def forget(body: Subjects, db: Database) -> dict[str, str]:
    """Delete notification's inbox rows of the given orders."""
    return forget_all(body, db)
