# Prepares this checkout: distribution packages and the virtual environment.
# Sourced by ./todoku and ./test.  Sets PYTHON; safe to repeat; silent when nothing is missing.
#
# shellcheck shell=sh

say() { printf '%s\n' "todoku: $*" >&2; }
fail() { say "$*"; exit 2; }

# The distribution's parts that a lab is made of, as `command:package`.
LAB_PACKAGES="nft:nftables crun:crun conmon:conmon catatonit:catatonit skopeo:skopeo ip:iproute2 dpkg-deb:dpkg"

find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

missing_packages() {
    missing=""
    for pair in $LAB_PACKAGES; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    find_python >/dev/null || missing="$missing python3 python3-venv"
    [ -e /usr/share/containers/seccomp.json ] || missing="$missing golang-github-containers-common"
    printf '%s' "$missing"
}

install_packages() {
    missing=$(missing_packages)
    [ -z "$missing" ] && return 0
    if [ "${NO_INSTALL:-}" = 1 ]; then
        fail "missing distribution packages:$missing (install them, or leave out --no-install)"
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        fail "this machine has no apt-get; Todoku prepares Debian 12 by itself, elsewhere install the equivalents of:$missing"
    fi
    [ "$(id -u)" = 0 ] || fail "must run as root to install:$missing"
    say "installing distribution packages:$missing"
    apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists at hand"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 ||
        fail "apt-get could not install:$missing"
}

# prepare_venv LOCK...: the environment in .venv holds exactly what the lock file lists.
prepare_venv() {
    lock=$1
    venv="$ROOT/.venv"
    PYTHON="$venv/bin/python"
    stamp="$venv/.todoku-$(basename "$lock")"
    if [ -x "$PYTHON" ] && cmp -s "$ROOT/$lock" "$stamp"; then
        return 0
    fi
    base=$(find_python) || fail "needs Python 3.11 or newer with the venv module"
    say "preparing the Python environment in .venv (once)"
    [ -x "$PYTHON" ] && "$PYTHON" -c '' 2>/dev/null || "$base" -m venv --clear "$venv" || fail "could not make $venv"
    "$PYTHON" -m pip --quiet --disable-pip-version-check install --require-hashes -r "$ROOT/$lock" >&2 ||
        fail "could not install the Python packages of $lock (is a package index in reach?)"
    printf '%s\n' "$ROOT/src" >"$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/todoku.pth"
    cp "$ROOT/$lock" "$stamp"
    # The development lock is a superset; so the runtime set is present as well.
    [ "$lock" = requirements-dev.lock ] && cp "$ROOT/requirements.lock" "$venv/.todoku-requirements.lock"
    return 0
}
