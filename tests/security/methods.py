"""Every method of the public host, as its OpenAPI document tells them."""

from dataclasses import dataclass

from tools.generate import schemas

# In the path of a method: somebody that there is, and whatever a switch may be.
VALUES = {"{id}": "1", "{username}": "admin", "{enabled}": "true"}


@dataclass(frozen=True)
class Method:
    """A method and path, and who may call it: bearer, administrator, client, installation, or anybody."""

    verb: str
    path: str
    caller: str

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


def methods(*callers: str) -> list[Method]:
    """Those of these callers; of all, if none is named."""
    found = []
    for path, item in schemas.openapi()["paths"].items():
        for placeholder, value in VALUES.items():
            path = path.replace(placeholder, value)
        for verb in sorted({"get", "post", "delete", "put"} & item.keys()):
            names = [name for each in item[verb].get("security", []) for name in each]
            found.append(Method(verb.upper(), path, *(names or ["anybody"])))
    return [method for method in found if not callers or method.caller in callers]
