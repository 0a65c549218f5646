#!/bin/sh
# Writes requirements.lock and requirements-dev.lock from pyproject.toml (needs uv).
set -eu
cd "$(dirname "$0")/.."
common="--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet"
# shellcheck disable=SC2086
uv pip compile pyproject.toml $common -o requirements.lock
# shellcheck disable=SC2086
uv pip compile pyproject.toml --extra dev $common -o requirements-dev.lock
