"""The address of the database as each owner's role has it."""

from urllib.parse import quote, urlsplit


def role_url(url: str, owner: str, password: str) -> str:
    """The address of the same database for an owner's role."""
    parts = urlsplit(url)
    at = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{owner}:{quote(password, safe='')}@{at}").geturl()
