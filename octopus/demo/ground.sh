#!/bin/sh
# Lays the ground on a Debian (12 or newer) or Ubuntu machine that has git, make and python3: ground.sh demo|test
#
# Installs the packages whose programs are missing, says which, and lets none of them start or enable a service. Then makes
# .venv from requirements.lock and installs octopus into it. Needs root or sudo only where a package is missing. The second
# time it finds everything in place. Run from the top of the repository. PYTHON, where it is set, is the interpreter to take
# before others: one built without optimization, as version managers do, is a tenth to a third slower than the system's.
set -eu

purpose=${1:?demo or test}
venv=.venv
missing=

say() { printf 'ground: %s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# has PROGRAM: also looks where daemons live
has() { PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1; }

# want PACKAGE CONDITION…: notes the package where the condition does not hold
want() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

recent_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# static_busybox: the package busybox has the same path, but wants a loader that an image of ours does not hold
static_busybox() { [ -x /bin/busybox ] && ! head -c 4096 /bin/busybox | grep -q ld-linux; }

engine_answers() {
    [ -n "${DOCKER_HOST:-}" ] && return 0
    "$python" - 2>/dev/null <<'ASK'
import socket
with socket.socket(socket.AF_UNIX) as engine:
    engine.settimeout(2)
    engine.connect("/var/run/docker.sock")
    engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
    raise SystemExit(b" 200 " not in engine.recv(64))
ASK
}

choose_python() {
    for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if recent_python "$python"; then
            want "$(basename "$python")-venv" "$python" -c 'import ensurepip, venv'
            return
        fi
    done
    python=python3.11
    missing="$missing python3.11 python3.11-venv"
}

list_packages() {
    choose_python
    want busybox-static static_busybox
    want openssh-client has ssh
    if [ "$purpose" = demo ] && engine_answers; then return; fi
    want docker.io has dockerd
    if [ "$purpose" = demo ]; then return; fi
    want docker-cli has docker
    want slapd has slapd
    want ldap-utils has ldapmodify
    want openssh-server has sshd
    want putty-tools has plink
    want dropbear-bin has dbclient
    want sshpass has sshpass
    want rsync has rsync
    want lftp has lftp
    want sshfs has sshfs
    want curl has curl
    want socat has socat
    want chromium has chromium
    want procps has ps
    want python3-swift test -e /usr/lib/python3/dist-packages/swift/proxy/server.py
    want zookeeper test -e /usr/share/java/zookeeper.jar
    want default-jre-headless has java
    want systemd has systemd-analyze
    want rsyslog has rsyslogd
    want rsyslog-gnutls sh -c 'ls /usr/lib/*/rsyslog/lmnsd_gtls.so'
    want chromium has chromium
    want npm has npm
}

# Before Debian 13 docker.io brings the command line itself and there is no docker-cli.
without_unknown() {
    for package in "$@"; do
        if [ "$package" != docker-cli ] || apt-cache show docker-cli >/dev/null 2>&1; then echo "$package"; fi
    done
}

# Services must neither start now nor at the next boot: this machine is somebody's laptop.
deny_services() {
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then as_root mv "$policy" "$policy.before-octopus"; fi
    trap allow_services EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

allow_services() {
    as_root rm -f "$policy"
    if [ -e "$policy.before-octopus" ]; then as_root mv "$policy.before-octopus" "$policy"; fi
}

installed() { dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p' | sort -u; }

disable_services() {
    for package in "$@"; do
        dpkg -L "$package" | sed -n 's#^\(/usr\)\?/lib/systemd/system/\([^/@]*\.\(service\|socket\)\)$#\2#p' | while read -r unit; do
            as_root systemctl disable "$unit" >/dev/null 2>&1 || true
        done
        dpkg -L "$package" | sed -n 's#^/etc/init.d/\([^/]*\)$#\1#p' | while read -r script; do
            as_root update-rc.d "$script" disable >/dev/null 2>&1 || true
        done
    done
}

install_packages() {
    say "installing$missing"
    as_root apt-get -qq update
    before=$(mktemp)
    after=$(mktemp)
    installed >"$before"
    deny_services
    # shellcheck disable=SC2046,SC2086  # words are meant
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq install --no-install-recommends $(without_unknown $missing) >/dev/null
    installed >"$after"
    # shellcheck disable=SC2046
    disable_services $(comm -13 "$before" "$after")
    rm -f "$before" "$after"
}

# Each stamp holds what its step was made of, and is written last.
venv_of() { cat requirements.lock && pwd && "$python" --version; }

make_venv() {
    if venv_of | cmp -s - "$venv/.lock"; then return; fi
    say "making $venv from requirements.lock"
    "$python" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
    venv_of >"$venv/.lock"
}

# The pages' player comes with the installation (hatch_build.py), where npm and a network are there to bring it.
player=octopus/admin/static/player/VERSION
project_of() { cat pyproject.toml hatch_build.py; }

install_octopus() {
    if project_of | cmp -s - "$venv/.project" && { [ -e "$player" ] || ! has npm; }; then return; fi
    say "installing octopus into $venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    [ -e "$player" ] || say "no asciinema-player (it takes npm and a network): the pages offer recordings as files instead"
    project_of >"$venv/.project"
}

list_packages
if [ -n "$missing" ]; then install_packages; fi
make_venv
install_octopus
