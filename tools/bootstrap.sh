#!/bin/sh
# Makes .venv, and installs PostgreSQL and RabbitMQ where they are missing. Does nothing, fast, when all is there.
# DATABASE_URL and AMQP_URL name existing servers; each that is set saves one installation.
set -eu
cd "$(dirname "$0")/.."

say() { echo "bootstrap: $*"; }
fail() { echo "bootstrap: $*" >&2; exit 1; }

find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "expected Python 3.11 or newer, found $(python3 --version 2>&1 || true): install the package python3 of a newer release"
}

has_postgres() {
    [ -n "${DATABASE_URL:-}" ] || command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

has_rabbitmq() {
    [ -n "${AMQP_URL:-}" ] || [ -e /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null
}

has_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

venv_package() {
    case "$1" in
        /usr/bin/*) "$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])' ;;
        *) echo python3-venv ;;
    esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt's many lines are for the case that it fails.
quietly() {
    log=$(mktemp)
    as_root "$@" >"$log" 2>&1 </dev/null || { tail -n 15 "$log" >&2; fail "$* failed (all of it in $log): $advice"; }
    rm -f "$log"
}

# Installed servers would be started at once, and at every boot; ours are private ones.
policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/food-ordering.conf

hold_services() {
    trap release_services EXIT
    trap 'exit 130' INT TERM
    if [ ! -e "$policy" ]; then
        as_root sh -c "printf '#!/bin/sh\n# food-ordering bootstrap\nexit 101\n' > $policy && chmod 755 $policy"
    fi
    as_root sh -c "mkdir -p ${no_cluster%/*} && echo 'create_main_cluster = false' > $no_cluster"
}

release_services() {
    if grep -qs 'food-ordering bootstrap' "$policy"; then as_root rm -f "$policy"; fi
    as_root rm -f "$no_cluster"
    as_root rmdir "${no_cluster%/*}" 2>/dev/null || true
}

install_packages() {
    packages=$*
    advice="install these packages: $packages"
    if ! has_postgres || ! has_rabbitmq; then advice="$advice, or set DATABASE_URL and AMQP_URL to existing servers"; fi
    command -v apt-get >/dev/null || fail "no apt-get here: $advice"
    as_root true 2>/dev/null || fail "neither root nor sudo without a password: $advice"
    say "installing $packages (this may take some minutes)"
    hold_services
    quietly apt-get update
    say "packages are known, downloading and unpacking"
    # shellcheck disable=SC2086 # several words, and meant to be
    quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
    case "$packages" in
        *rabbitmq*) as_root systemctl disable --quiet rabbitmq-server 2>/dev/null || true ;;
    esac
    release_services
    trap - EXIT INT TERM
}

# One that was not finished, or was copied here from elsewhere, is none.
lacks_environment() {
    [ ! -x .venv/bin/python ] || ! grep -qxs "$PWD" "$stamp"
}

wanted() {
    if lacks_environment && ! has_venv "$1"; then venv_package "$1"; fi
    has_postgres || echo postgresql
    has_rabbitmq || echo rabbitmq-server
    # Tests make a certificate with it, and check signatures.
    command -v openssl >/dev/null || echo openssl
}

make_environment() {
    if lacks_environment; then
        say "making .venv with $1"
        rm -rf .venv
        "$1" -m venv .venv
    fi
    say "installing the Python packages into .venv"
    pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check"
    # Only files whose hashes are known; the project itself is built by what came with them.
    { $pip --require-hashes -r tools/constraints.txt && $pip --no-deps --no-build-isolation -e .; } ||
        fail "pip could not install the packages: see its message above, then run this again"
}

stamp=.venv/made-from
sum="$(cat pyproject.toml tools/constraints.txt | cksum)
$PWD"
if has_postgres && has_rabbitmq && [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$sum" ]; then
    exit 0
fi

python=$(find_python)
packages=$(wanted "$python" | tr '\n' ' ')
# shellcheck disable=SC2086 # several words, and meant to be
if [ -n "$packages" ]; then install_packages $packages; fi
if [ "$(cat $stamp 2>/dev/null)" != "$sum" ] || [ ! -x .venv/bin/python ]; then
    make_environment "$python"
    echo "$sum" > "$stamp"
fi
say "ready"
