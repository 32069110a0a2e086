#!/bin/sh
# Pin everything that is installed, to a version and to the hashes of its files: tools/constraints.txt for the whole
# project, tools/image/requirements.txt for what an image holds. What is pinned already stays as it is, unless
# pyproject.toml says otherwise; `tools/lock.sh --upgrade` takes the newest that pyproject.toml allows.
set -eu
cd "$(dirname "$0")/.."
all=tools/constraints.txt
images=tools/image/requirements.txt

.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
# The editable project is built by what is pinned, too.
printf 'setuptools>=77\n' >.venv/build-requirements.in

lock() {
    file=$1
    shift
    .venv/bin/python -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --output-file "$file" "$@"
}

lock "$all" .venv/build-requirements.in --extra dev "$@"
lock "$images" --extra traces --constraints "$all" "$@"
