#!/usr/bin/env bash
# moto 5.2.5's server: a third reading of AWS's pages, with its own parsers of PartiQL and of conditions. It runs no functions.
#
#   moto.sh install    fetch it into the cache (once)
#   moto.sh run        serve in the foreground until interrupted; state is in memory
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

install() { python_env moto "$emulators/moto-requirements.txt" 3.13 3.12 3.11 3.10; }

run() {
  local home=$cache/instances/moto-$port
  install
  mkdir -p "$home"
  leash
  exec env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$home" TMPDIR="$(scratch)" TZ=:UTC LANG=C.UTF-8 \
    "$venv/bin/moto_server" -H 127.0.0.1 -p "$port"
}

"$1"
