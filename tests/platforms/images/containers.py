"""Images without a container engine: built by buildah, started with the kernel's own means.

No registry is asked for a base image; one is made from the distribution's packages, once on a machine. What is built
is kept in a store of its own under the cache, so that a second run finds the libraries' layer there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tests.platforms.programs import CACHE
from tools.image.build import DOCKERFILE
from tools.local.children import Child
from tools.local.environment import ROOT
from tools.local.processes import wait_until

STORE = CACHE.with_name("images")
BASE = "localhost/food/base:bookworm"
REGISTRY = "localhost/food"
VERSION = "0.1.0"
# Programs and the packages that they come in.
PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux", "chroot": "coreutils"}
# What a network of containers needs beside them.
OF_NETWORKS = {"ip": "iproute2", "iptables": "iptables"}
SECRETS = "/var/openfaas/secrets"

# What a container runtime does: namespaces of its own, devices, /dev/shm, what is mounted, and a root that nobody
# writes to; not even /tmp, unless it is mounted.
CONTAIN = """
set -e
root=$1 user=$2 folder=$3 mounts=$4; shift 4
mount --bind "$root" "$root"
while [ "$mounts" -gt 0 ]; do
    # A link in the image, as /var/run is one, leads to a place in the image.
    target=$root$(chroot "$root" readlink -m "$2")
    if [ -d "$1" ]; then
        mkdir -p "$target"
    elif [ ! -e "$target" ]; then
        : > "$target"
    fi
    mount --bind "$1" "$target"
    mount -o "remount,bind,$3" "$target"
    shift 3; mounts=$((mounts - 1))
done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all env --ignore-environment --chdir="$folder" "$@"
"""


class NotHere(Exception):
    """This machine cannot build or start images; the text is one line."""


class Failed(Exception):
    """A command ended with an error; the text has the end of what it said."""


def prepare(programs: dict[str, str] = PROGRAMS) -> None:
    """Install the packages of what is missing. Raises NotHere."""
    if os.geteuid() != 0:
        raise NotHere("images are built and started by root only: run this as root")
    packages = [package for program, package in programs.items() if not shutil.which(program)]
    if packages:
        _install(packages)
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        raise NotHere("containers need mounts of their own, and root may not make any here: privileges are missing")


def ready(programs: dict[str, str] = PROGRAMS) -> "Store":
    """A store that has what every image is made of. Raises NotHere."""
    prepare(programs)
    store = Store()
    store.make_base()
    store.make_libraries()
    return store


def _install(packages: list[str]) -> None:
    if not shutil.which("apt-get"):
        raise NotHere(f"no apt-get here: install {', '.join(packages)}")
    try:
        _quietly(["apt-get", "update"])
        _quietly(["apt-get", "install", "-y", "--no-install-recommends", "debian-archive-keyring", *packages])
    except Failed as problem:
        raise NotHere(str(problem)) from None


def _quietly(command: list[str], **more: Any) -> str:
    """Run a command and give what it says. Raises Failed."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"} | more
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {' '.join((done.stdout + done.stderr).split()[-200:])}")
    return done.stdout.strip()


class Store:
    """Images and the containers that are made of them."""

    def __init__(self, directory: Path = STORE):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
        }
        self._choose_driver()

    def _choose_driver(self) -> None:
        """Overlay keeps a layer's own files only; vfs, which copies all of them, works on every file system."""
        for driver in ("overlay", "vfs"):
            places = f'graphroot = "{self.directory}/{driver}"\nrunroot = "{self.directory}/run"\n'
            (self.directory / "storage.conf").write_text(f'[storage]\ndriver = "{driver}"\n{places}')
            if self._try("info"):
                return
        raise NotHere(f"buildah cannot keep images in {self.directory}")

    def buildah(self, *arguments: str) -> str:
        """Run buildah and give what it says. Raises Failed."""
        return _quietly(["buildah", *arguments], **self.environment)

    def _try(self, *arguments: str) -> bool:
        try:
            return bool(self.buildah(*arguments))
        except Failed:
            return False

    def make_base(self) -> None:
        """A base image of the distribution's packages, in the where of Python's official one. Raises NotHere."""
        if self._try("inspect", "--type", "image", BASE):
            return
        container = self.buildah("from", "scratch")
        try:
            self._fill_base(self.buildah("mount", container))
            self.buildah("commit", container, BASE)
        except Failed as problem:
            raise NotHere(str(problem)) from None
        finally:
            self.buildah("rm", container)

    def _fill_base(self, root: str) -> None:
        packages = "--include=python3,python3-venv,ca-certificates"
        _quietly(["debootstrap", "--variant=minbase", packages, "bookworm", root])
        for leftover in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(Path(root) / leftover)

    def make_libraries(self) -> None:
        """The stage that all images share; its name keeps it from being pruned."""
        stage = ["--target=libraries", f"--tag={REGISTRY}/libraries"]
        self.buildah("build", f"--file={ROOT / DOCKERFILE}", *stage, *self.options, str(ROOT))

    @cached_property
    def options(self) -> list[str]:
        """What a build is told here: the base, and how this machine reaches the package index."""
        listed = _quietly([sys.executable, "-m", "pip", "config", "list"]).splitlines()
        pairs = (line.partition("=") for line in listed)
        known = {name.rpartition(".")[2]: value.strip("'") for name, _, value in pairs}
        lines = ["[global]", *(f"{name} = {value}" for name, value in known.items())]
        (self.directory / "pip.conf").write_text("\n".join(lines) + "\n")
        volumes = {self.directory / "pip.conf": "/etc/pip.conf"}
        certificates = Path("/etc/ssl/certs/ca-certificates.crt")
        volumes |= {certificates: certificates} if certificates.exists() else {}
        mounts = [f"--volume={here}:{there}:ro" for here, there in volumes.items()]
        return ["--layers", "--force-rm", f"--build-arg=BASE={BASE}", *mounts]

    def build(self, *names: str) -> subprocess.CompletedProcess:
        """Build images with the project's own command."""
        command = [sys.executable, "-m", "tools.image.build", "--builder", "buildah", "--registry", REGISTRY]
        command += ["--version", VERSION, *names, *(f"--with={option}" for option in self.options)]
        return subprocess.run(command, cwd=ROOT, env=os.environ | self.environment, capture_output=True, text=True)

    @contextmanager
    def opened(self, image: str) -> Iterator["Image"]:
        """An image as a folder, for as long as it is looked at."""
        container = self.buildah("from", "--pull-never", image)
        try:
            variables = json.loads(self.buildah("inspect", "--type", "image", image))
            yield Image(Path(self.buildah("mount", container)), variables["OCIv1"]["config"])
        finally:
            self.buildah("rm", container)

    def prune(self) -> None:
        """Forget the layers that no image is made of any more; another run may still hold some."""
        self._try("rmi", "--prune")


class Mount(NamedTuple):
    """A folder or file of this machine, where a container sees it, and whether it may write there: `ro` or `rw`."""

    source: Path
    target: str
    mode: str = "ro"


class Image:
    """The files of an image, and what it says about how it is started."""

    def __init__(self, root: Path, config: dict[str, Any]):
        self.root, self.config = root, config

    def size(self, folder: str = "") -> int:
        """The bytes of the files in a folder."""
        paths = (path for path in (self.root / folder).rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in paths)

    def files(self, folder: str) -> set[str]:
        """The files in a folder, compiled ones apart."""
        paths = (path for path in (self.root / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {str(path.relative_to(self.root / folder)) for path in paths}

    def command(self, mounts: Sequence[Mount], arguments: Iterable[str], environment: dict[str, str]) -> list[str]:
        """The command that starts it as a container runtime does: its user, its environment, its entry point."""
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        contain = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CONTAIN, "sh"]
        where = [str(self.root), self.config["User"], self.config["WorkingDir"], str(len(mounts))]
        pairs = [str(word) for mount in mounts for word in mount]
        return [*contain, *where, *pairs, *variables, *self.config["Entrypoint"], *arguments]

    def run(self, secrets: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Start it and wait for its end."""
        command = self.command([Mount(secrets, SECRETS)], arguments, environment)
        return subprocess.run(command, env=own_environment(), capture_output=True, text=True, timeout=60)


def own_environment() -> dict[str, str]:
    """That of the programs which make a container; what is in it has another one."""
    return {"PATH": os.environ["PATH"]}


class Container(Child):
    """A started image that listens."""

    port: int

    @classmethod
    def of(cls, image: Image, secrets: Path, log: Path, port: int, *arguments: str, **variables: str) -> "Container":
        """One that is to answer on a port, which it is told as Knative does."""
        command = image.command([Mount(secrets, SECRETS)], arguments, {"PORT": str(port)} | variables)
        made = cls(log.stem, command, own_environment(), log)
        made.port = port
        return made

    @property
    def first(self) -> int:
        """The process that is number 1 inside; there is no other child of ours."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def terminate(self, seconds: float) -> int | None:
        """What a platform does: SIGTERM to process 1, and to no other; its exit status, None if it went on."""
        os.kill(self.first, signal.SIGTERM)
        return self.process.poll() if wait_until(lambda: not self.runs, seconds) else None
