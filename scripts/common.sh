# Sourced by the other scripts: where things are, how to say things, what to install.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=/usr/bin/python3 # Debian's: the packages below are for it

say() {
    printf '\033[1m==> %s\033[0m\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

COMPILE_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config libzmq3-dev libczmq-dev
    libcurl4-openssl-dev libmsgpack-dev libyajl-dev libsqlite3-dev libssl-dev)
BUILD_PACKAGES=("${COMPILE_PACKAGES[@]}" libcmocka-dev python3 python3-zmq python3-flask)
TEST_PACKAGES=(g++ python3-pytest python3-pytest-timeout python3-msgpack python3-requests nginx-light openssl
    procps iproute2)
CHECK_PACKAGES=(clang clang-format clang-tidy libclang-rt-14-dev)

is_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# install PACKAGE...: installs what is missing, as root or with sudo.
install() {
    local missing=() as_root=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "needs these Debian packages: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "run as root or install sudo, to install: ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
            install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -20 "$log" >&2
        die "installing failed; the whole log is in $log"
    fi
    rm -f "$log"
}

# build PRESET [cmake argument...]: the result is in build/PRESET.
build() {
    local preset=$1
    shift
    say "building ($preset)"
    (cd "$ROOT" && cmake --preset "$preset" "$@" >/dev/null && cmake --build --preset "$preset")
}
