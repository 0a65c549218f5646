# Prepares this checkout: distribution packages and the virtual environment.
# Sourced by ./todoku, ./test and .ci/run, which set ROOT.  Sets PYTHON.  Silent and quick (5 ms) when nothing is
# missing; safe to repeat, to interrupt, and against another one at the same time.
#
# shellcheck shell=sh

PREPARE_LOG="$ROOT/.venv.log"

say() { printf '%s\n' "todoku: $*" >&2; }
fail() { say "$*"; exit 2; }

# The distribution's parts that a lab is made of, as `command:package`.
LAB_PACKAGES="nft:nftables crun:crun conmon:conmon catatonit:catatonit skopeo:skopeo ip:iproute2 dpkg-deb:dpkg nsenter:util-linux"
# What only the tests ask and watch with; ./test and .ci/run add it.
TEST_PACKAGES="ping:iputils-ping tcpdump:tcpdump runc:runc docker-registry:docker-registry curl:curl openssl:openssl diff:diffutils"
SECCOMP_PROFILE=/usr/share/containers/seccomp.json

# --- progress -----------------------------------------------------------------------------------------------
# `prepare_step TEXT COMMAND...` shows TEXT and the seconds it took; what COMMAND says goes to a log.

prepare_step() {
    step_text=$1
    shift
    step_began=$(date +%s)
    [ -t 2 ] && printf 'todoku: %s ...' "$step_text" >&2
    if "$@" >>"$PREPARE_LOG" 2>&1; then
        step_end=$(($(date +%s) - step_began))
        if [ -t 2 ]; then printf '\r\033[Ktodoku: %s (%s s)\n' "$step_text" "$step_end" >&2
        else say "$step_text ($step_end s)"; fi
        return 0
    fi
    [ -t 2 ] && printf '\n' >&2
    return 1
}

# The last words of a failed step, for the user.
fail_with_log() {
    say "$1; the end of $PREPARE_LOG says:"
    tail -n 15 "$PREPARE_LOG" >&2
    exit 2
}

# --- distribution packages ------------------------------------------------------------------------------------

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
    for pair in $LAB_PACKAGES ${ALSO_PACKAGES:-}; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    # An environment that is there already has a Python; looking for another costs 50 ms.
    [ -x "$ROOT/.venv/bin/python" ] || find_python >/dev/null || missing="$missing python3 python3-venv"
    [ -e "$SECCOMP_PROFILE" ] || missing="$missing golang-github-containers-common"
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
    [ "$(id -u)" = 0 ] || fail "must run as root to install the distribution packages:$missing"
    lock_preparation
    missing=$(missing_packages) # another one may have installed them meanwhile
    [ -z "$missing" ] && return 0
    say "will install distribution packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    prepare_step "reading package lists" apt-get update -o Acquire::Retries=2 ||
        say "package lists cannot be refreshed; trying with those at hand"
    # One command for all is quickest; where one package is unknown, the others still go in.
    # shellcheck disable=SC2086
    prepare_step "installing$missing" apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing && return 0
    fail_with_log "apt-get could not install:$missing"
}

# --- the virtual environment ----------------------------------------------------------------------------------

# prepare_venv LOCK: the environment in .venv holds exactly what the lock file lists.
prepare_venv() {
    lock=$1
    venv="$ROOT/.venv"
    PYTHON="$venv/bin/python"
    stamp="$venv/.todoku-$lock"
    venv_is_ready && return 0
    lock_preparation
    venv_is_ready && return 0 # another one did it meanwhile
    base=$(find_python) || fail "needs Python 3.11 or newer with the venv module (Debian: python3 python3-venv)"
    say "preparing the Python environment in .venv (once)"
    if ! "$PYTHON" -c 'import pip' 2>/dev/null; then
        prepare_step "making the environment" "$base" -m venv --clear "$venv" || fail_with_log "could not make $venv"
    fi
    # Development packages include the others: who has them keeps them.
    [ "$lock" = requirements.lock ] && [ -e "$venv/.todoku-requirements-dev.lock" ] && lock=requirements-dev.lock
    rm -f "$venv"/.todoku-*.lock
    prepare_step "installing the packages of $lock" install_locked "$lock" ||
        fail_with_log "could not install the Python packages of $lock (is a package index in reach?)"
    printf '%s\n' "$ROOT/src" >"$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/todoku.pth"
    prepare_step "compiling" "$PYTHON" -m compileall -q -j 0 "$ROOT/src" || say "compiling failed; the first start will be slow"
    cp "$ROOT/requirements.lock" "$venv/.todoku-requirements.lock"
    [ "$lock" = requirements-dev.lock ] && cp "$ROOT/$lock" "$venv/.todoku-$lock"
    return 0
}

venv_is_ready() { [ -x "$PYTHON" ] && cmp -s "$ROOT/$lock" "$stamp"; }

# uv resolves nothing and downloads in parallel: a third of pip's time.  Where it cannot be had, or knows less of
# this machine's package index than pip does, pip does the same.
install_locked() {
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1
    uv="$venv/share/uv/bin/uv"
    if [ ! -x "$uv" ]; then
        "$PYTHON" -m pip install --quiet --require-hashes --target "$venv/share/uv" -r "$ROOT/tools/uv.lock"
    fi
    [ -z "${UV_DEFAULT_INDEX:-}" ] && [ -n "${PIP_INDEX_URL:-}" ] && export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
    if [ -x "$uv" ] && "$uv" pip install --quiet --require-hashes --compile-bytecode --python "$PYTHON" -r "$ROOT/$1"; then
        return 0
    fi
    "$PYTHON" -m pip install --require-hashes -r "$ROOT/$1"
}

# Held until this shell ends or becomes the program: descriptor 9 is closed by `release_preparation`.
lock_preparation() {
    [ -n "${PREPARING:-}" ] && return 0
    PREPARING=1
    # A failed `exec` ends the shell with its own words; ask first.
    (: >>"$ROOT/.venv.lock") 2>/dev/null ||
        fail "must prepare this checkout, and $(id -un) may not write to $ROOT; run it as root, or as its owner"
    exec 9>"$ROOT/.venv.lock"
    if ! flock -n 9; then
        say "waiting for another preparation of this checkout"
        flock 9
    fi
    : >"$PREPARE_LOG"
}

release_preparation() {
    [ -n "${PREPARING:-}" ] && exec 9>&-
    PREPARING=""
}
