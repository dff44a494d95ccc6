#!/usr/bin/env bash
# Python with an unmodified Celery in it, for the tests that have one at the other end. Prints the path of the interpreter.
#
#   celery.sh install 5.7    what celery-5.7.txt pins, into the cache (once)
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/emulators/place.sh"

pins=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/celery-$2.txt
python_env "celery-$2" "$pins" 3.12 3.13 3.11 3.10
echo "$venv/bin/python"
