#!/usr/bin/env bash
# cfn-lint 1.58.0: holds templates of CloudFormation against AWS's own schemas of each resource.
#
#   cfn-lint.sh install    fetch it into the cache (once)
#   cfn-lint.sh run        print where the program is
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

install() {
  local python
  python=$(find_python 3.13 3.12 3.11 3.10) || missing "needs Python 3.10 to 3.13; put it on the PATH or name it in PYTHON"
  lock cfn-lint
  venv=$cache/cfn-lint-$({ cat "$emulators/cfn-lint-requirements.txt"; "$python" -VV; } | cksum | cut -d' ' -f1)
  if [ ! -e "$venv/ready" ]; then
    echo "installing cfn-lint into $venv" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$emulators/cfn-lint-requirements.txt" >&2
    touch "$venv/ready"
  fi
  unlock
}

run() {
  install
  echo "$venv/bin/cfn-lint"
}

"$1"
