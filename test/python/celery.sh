#!/usr/bin/env bash
# Python with an unmodified Celery in it, for the tests that have one at the other end. Prints the path of the interpreter.
#
#   celery.sh install 5.7    what celery-5.7.txt pins, into the cache (once)
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/emulators/place.sh"

pins=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/celery-$2.txt
python=$(find_python 3.12 3.13 3.11 3.10) || missing "needs Python 3.10 to 3.13; put it on the PATH or name it in PYTHON"
lock "celery-$2"
# The folder is named after the pins and the interpreter: changed pins make a fresh environment, an aborted install is never used.
venv=$cache/celery-$2-$({ cat "$pins"; "$python" -VV; } | cksum | cut -d' ' -f1)
if [ ! -e "$venv/ready" ]; then
  echo "installing Celery $2 into $venv" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins" >&2
  touch "$venv/ready"
fi
echo "$venv/bin/python"
