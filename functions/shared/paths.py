"""Paths with placeholders (`/users/{id}`), as functions, gateway and manifests match them."""

import re

PLACEHOLDER = re.compile(r"\{(\w+)\}")


def expression(template: str, named: bool = False) -> str:
    """A regular expression for the whole of a path, with or without a slash at its end; RE2 reads it too.

    A placeholder is one segment, whatever is in it; with `named` it is a group of its name.
    """
    segment = r"(?P<\1>[^/]+)" if named else "[^/]+"
    # What is between the placeholders is letters, digits, slashes, dots and dashes; RE2 wants no escaped dash.
    text = re.escape(template).replace(r"\-", "-").replace(r"\{", "{").replace(r"\}", "}")
    return PLACEHOLDER.sub(segment, text) + "/?"
