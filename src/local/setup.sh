#!/bin/sh
# Makes the Python environment of this checkout on a Debian or Ubuntu that has only make and sh:
# Python itself, a private uv, and every package that uv.lock names. When nothing has changed since
# the last time, it returns at once.
set -eu

UV_VERSION=0.13.9
# uv should trust whom this machine trusts, also behind a company's proxy.
UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
UV_PROJECT_ENVIRONMENT=${UV_PROJECT_ENVIRONMENT:-.venv}
# Compiled once and here: else the first of many processes that start at once would each do it.
UV_COMPILE_BYTECODE=${UV_COMPILE_BYTECODE:-1}
export UV_SYSTEM_CERTS UV_PROJECT_ENVIRONMENT UV_COMPILE_BYTECODE

cd "$(dirname "$0")/../.."
tools=.auditflow/tools
stamp=$UV_PROJECT_ENVIRONMENT/.auditflow-setup

say() { printf ' \342\200\242 %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# One line per step; what a step prints is shown only when it fails.
step() {
    say "$1"
    shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

fingerprint() {
    {
        printf '%s\n' "$UV_VERSION" "$PWD"
        cat uv.lock pyproject.toml src/*/pyproject.toml src/*/package-lock.json src/*/*/translations/*/LC_MESSAGES/*.po
    } | sha256sum
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

has_python() { command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null; }

install_python() {
    wanted='python3 python3-venv ca-certificates'
    command='apt-get install --no-install-recommends '$wanted
    command -v apt-get >/dev/null ||
        fail "Python with venv is missing, and there is no apt-get here. Install Python 3.11 or" \
            "newer with its venv and ensurepip modules by this system's package manager."
    if [ "$(id -u)" -ne 0 ] && ! { command -v sudo >/dev/null && sudo -v; }; then
        fail "Python with venv is missing, and this user is neither root nor allowed to use sudo." \
            "Ask an administrator to run: $command"
    fi
    step "apt-get update" as_root apt-get -q update || fail "apt-get update failed"
    # shellcheck disable=SC2086  # these are several words
    step "installing $wanted" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -y -q --no-install-recommends install $wanted ||
        fail "could not install Python; try: $command"
}

install_uv() {
    # A folder that was moved with the checkout has programs that point to the old place.
    if [ "$("$tools/bin/uv" --version 2>/dev/null | cut -d ' ' -f 2)" = "$UV_VERSION" ] &&
        "$tools/bin/python" -c '' 2>/dev/null; then
        return
    fi
    has_python || install_python
    rm -rf "$tools"
    step "making a private environment for uv" python3 -m venv "$tools" ||
        fail "could not make $tools"
    step "installing uv $UV_VERSION there" "$tools/bin/python" -m pip install --quiet \
        --disable-pip-version-check "uv==$UV_VERSION" ||
        fail "pip could not install uv $UV_VERSION; is there a way to pypi.org from here?"
}

now=$(fingerprint)
if [ -x "$UV_PROJECT_ENVIRONMENT/bin/python" ] && [ -f "$stamp" ] &&
    [ "$(cat "$stamp")" = "$now" ]; then
    exit 0
fi
install_uv
step "installing the packages of uv.lock in $UV_PROJECT_ENVIRONMENT" \
    "$tools/bin/uv" sync --locked --all-packages --group infra ||
    fail "uv sync failed; if uv.lock is out of date, $tools/bin/uv lock brings it up to date"
printf '%s\n' "$now" >"$stamp"
