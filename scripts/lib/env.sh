# What every script shares: where builds go, and what must be installed. Sourced, not run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Outside the clone, so that a fresh clone on a machine that built before starts warm.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${KONTIKI_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kontiki/target}}
export PATH="$HOME/.cargo/bin:$PATH"

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Installs the Debian packages of the arguments that are missing.
need_packages() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" = 0 ] || die "missing packages, install them as root: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# A compiler for Rust and for RocksDB, a fast linker, and a compiler cache.
need_build_tools() {
    need_packages build-essential ca-certificates clang libclang-dev curl git mold sccache
    if ! command -v cargo >/dev/null; then
        say "installing Rust"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt
    fi
    # RocksDB takes a quarter of an hour to compile; the cache brings it back in half a minute.
    export RUSTC_WRAPPER=sccache
    export SCCACHE_CACHE_SIZE=${SCCACHE_CACHE_SIZE:-10G}
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=-fuse-ld=mold"
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=-fuse-ld=mold"
}

# A running Docker Engine; started here where nothing else does.
need_docker() {
    need_packages docker.io iproute2 iptables nftables
    docker info >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] || die "no Docker Engine answers; start one, or run as root"
    say "starting Docker Engine (log: /var/log/kontiki-dockerd.log)"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        setsid nohup dockerd >/var/log/kontiki-dockerd.log 2>&1 </dev/null &
    fi
    for _ in $(seq 150); do
        docker info >/dev/null 2>&1 && return
        sleep 0.2
    done
    tail -n 5 /var/log/kontiki-dockerd.log >&2
    die "Docker Engine did not start"
}

# kubectl: the one that KUBECTL names, else the one installed, else Debian's.
need_kubectl() {
    if [ -z "${KUBECTL:-}" ]; then
        command -v kubectl >/dev/null || need_packages kubernetes-client
        KUBECTL=$(command -v kubectl)
    fi
    export KUBECTL
}

# Python with the `kubernetes` package and gRPC's, in a folder of its own; KONTIKI_PYTHON may name another.
need_python_client() {
    [ -n "${KONTIKI_PYTHON:-}" ] && return
    local version=37.0.2 grpc=1.85.1 folder
    folder=${XDG_CACHE_HOME:-$HOME/.cache}/kontiki/python-client-$version-grpc-$grpc
    if [ ! -e "$folder/complete" ]; then
        need_packages ca-certificates python3 python3-venv
        say "installing Python's kubernetes $version and gRPC $grpc"
        python3 -m venv --clear "$folder"
        # The machine's own authorities, not pip's: a network may have one of its own.
        "$folder/bin/pip" --cert /etc/ssl/certs/ca-certificates.crt install --quiet --disable-pip-version-check \
            "kubernetes==$version" "grpcio-tools==$grpc" "grpcio-status~=$grpc"
        touch "$folder/complete"
    fi
    export KONTIKI_PYTHON=$folder/bin/python
}

# schemathesis, in a folder of its own; KONTIKI_SCHEMATHESIS may name another.
need_schemathesis() {
    [ -n "${KONTIKI_SCHEMATHESIS:-}" ] && return
    local version=4.32.5 folder
    folder=${XDG_CACHE_HOME:-$HOME/.cache}/kontiki/schemathesis-$version
    if [ ! -e "$folder/complete" ]; then
        need_packages ca-certificates python3 python3-venv
        say "installing schemathesis $version"
        python3 -m venv --clear "$folder"
        # The machine's own authorities, as above.
        "$folder/bin/pip" --cert /etc/ssl/certs/ca-certificates.crt install --quiet --disable-pip-version-check "schemathesis==$version"
        touch "$folder/complete"
    fi
    export KONTIKI_SCHEMATHESIS=$folder/bin/schemathesis
}
