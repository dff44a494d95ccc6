# Where the emulators live, and how they find what they need; sourced by the scripts beside it.
#
# LOVAGE_EMULATOR_CACHE   kept between runs: environments, jars, logs   (.cache/emulators in the checkout)
# LOVAGE_EMULATOR_PORT    the port to serve on 127.0.0.1                (4566)
# LOVAGE_EMULATOR_LEASH   1: end with whoever holds the other end of standard input
# LOVAGE_EMULATOR_SCRATCH an empty folder where functions are unpacked        (one of the system's)
# PYTHON, NODE, JAVA      in place of what is found
set -euo pipefail

emulators=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LOVAGE_EMULATOR_CACHE:-$(dirname "$(dirname "$emulators")")/.cache/emulators}
port=${LOVAGE_EMULATOR_PORT:-4566}
# What installs packages of Python.
UV=uv==0.13.9

die() { echo "$(basename "$0"): $*" >&2; exit 1; }
# What this machine lacks. Callers tell it from a failure by the status.
missing() { echo "$(basename "$0"): $*" >&2; exit 69; }

# find_python 3.13: exactly that version; find_python 3.13 3.12: the first of them that there is.
find_python() {
  local version candidate
  for version; do
    # The name on the PATH may be that of a version manager, which takes six times as long to find the one that is meant.
    for candidate in "${PYTHON:-}" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python "python$version" python3; do
      # A version manager answers for a Python it does not have, so ask it to run.
      if [ -n "$candidate" ] && [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
        echo "$candidate"
        return
      fi
    done
  done
  return 1
}

# make_venv python folder what...: an environment with what uv is told to install. It needs a tenth of pip's time, most of which
# goes into reading the lists of all files that there ever were of each package.
make_venv() {
  local python=$1 folder=$2 uv
  shift 2
  uv=$(get_uv "$python")
  "$python" -m venv --clear --without-pip "$folder"
  # Whoever has told pip of another index means all that is installed.
  UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}} "$uv" pip install --quiet --python "$folder/bin/python" "$@" >&2
}

# get_uv python: installs uv into the cache, once, and prints where it is. Called in a subshell, whose lock ends with it.
get_uv() {
  local python=$1 home=$cache/$UV
  lock uv
  if [ ! -e "$home/ready" ]; then
    # An interpreter of a system may have no pip.
    if ! "$python" -m pip --version >/dev/null 2>&1; then
      "$python" -m venv --clear "$home/pip"
      python=$home/pip/bin/python
    fi
    PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-compile --upgrade --target "$home" "$UV" >&2
    touch "$home/ready"
  fi
  echo "$home/bin/uv"
}

# python_env ministack pins.txt 3.13 3.12: sets venv to an environment of what is pinned, made once. The folder is named after
# the pins and the interpreter: changed pins make a fresh environment, an aborted install is never used.
python_env() {
  local name=$1 pins=$2 python
  shift 2
  python=$(find_python "$@") || missing "needs Python 3.10 to 3.13; put it on the PATH or name it in PYTHON"
  lock "$name"
  venv=$cache/$name-$({ cat "$pins"; "$python" -VV; } | cksum | cut -d' ' -f1)
  if [ ! -e "$venv/ready" ]; then
    echo "installing $name into $venv" >&2
    make_venv "$python" "$venv" --requirement "$pins"
    touch "$venv/ready"
  fi
  unlock
}

find_java() { command -v "${JAVA:-java}" || missing "needs Java 17 or later for DynamoDB Local; put it on the PATH or name it in JAVA"; }

# DynamoDB Local lives for a minute: compiling it as for a server that runs for days takes longer than all that it is asked.
java_options="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

find_node() { "${NODE:-node}" -p process.execPath 2>/dev/null || missing "needs Node.js; put it on the PATH or name it in NODE"; }

# Outside of the checkout, whose node_modules would lend functions packages that Lambda does not have. What kind of module
# a function is, no package.json of a folder above shall say.
scratch() {
  local folder=${LOVAGE_EMULATOR_SCRATCH:-$(mktemp -d)}
  echo '{}' >"$folder/package.json"
  echo "$folder"
}

# One installation at a time; where there is no flock, whoever starts two at once on an empty cache has to wait by himself.
lock() {
  mkdir -p "$cache"
  exec 9>"$cache/$1.lock"
  if command -v flock >/dev/null; then flock 9; fi
}
unlock() { exec 9>&-; }

# The caller made us the leader of a process group. When it dies without a word, the whole group goes.
leash() {
  if [ "${LOVAGE_EMULATOR_LEASH:-0}" = 1 ]; then
    exec 8<&0 0</dev/null
    { cat <&8 >/dev/null; kill -KILL -- "-$$"; } >/dev/null 2>&1 &
    exec 8<&-
  fi
}

case ${1:-} in
  install | run) ;;
  *) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
