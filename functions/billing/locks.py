"""The rows that several orders change: a batch locks them first, all in one order."""

from functions.shared.decisions import Locks

CLIENTS = """
    SELECT username FROM clients WHERE username = ANY(CAST(:keys AS text[])) ORDER BY username FOR NO KEY UPDATE
"""


def client(username: str) -> Locks:
    """The balance of an order's client."""
    return Locks(CLIENTS, [username])
