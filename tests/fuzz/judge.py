"""What an answer says about the system: whether it was a refusal, and whether it may be given at all."""

from tests.fuzz.inputs import Input

# Nothing fails here: only a step says "later", to an event that came too early and to a stranger.
SERVER_ERRORS_OF_STEPS = {500: (b"x-retry: never",), 503: (b" yet", b"the installation's token")}


def problems(given: Input, statuses: list[int], answers: bytes) -> list[str]:
    """What is wrong with the answers to an input."""
    wrong = []
    for status in statuses:
        if status >= 500 and not _is_fine(given, status, answers):
            wrong.append(f"answered {status}")
    if given.whole and not statuses:
        wrong.append("closed without an answer")
    return wrong


def _is_fine(given: Input, status: int, answers: bytes) -> bool:
    if given.target in ("gateway", "ingress"):
        # A method of a later HTTP is answered by the server itself.
        return status in (501, 505)
    return any(word in answers.lower() for word in SERVER_ERRORS_OF_STEPS.get(status, ()))


def changes_nothing(given: Input, statuses: list[int]) -> bool:
    """Whether nothing may have changed: all was refused, or only read."""
    return all(status >= 400 for status in statuses) or (given.reads and given.whole)
