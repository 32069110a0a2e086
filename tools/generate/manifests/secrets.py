"""The secrets that the installer may read: a list within its Role, which is otherwise written by hand."""

import re

from tools.generate.manifests.listed import listed
from triggers.stack import ROOT

FILE = ROOT / "k8s" / "base" / "30-secrets.yaml"
BEGIN, END = r"( +# the secrets of stack\.yml: written by `make generate`\n)", r"( +# end of secrets\n)"
NAMES = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)


def readable() -> str:
    """The file with every secret that stack.yml names."""
    names = dict.fromkeys(name for one in listed() for name in one.secrets)
    lines = "".join(f"      - {name}\n" for name in names)
    return NAMES.sub(lambda found: found[1] + lines + found[2], FILE.read_text("utf-8"))
