#!/usr/bin/env bash
# cfn-lint 1.58.0: holds templates of CloudFormation against AWS's own schemas of each resource.
#
#   cfn-lint.sh install    fetch it into the cache (once)
#   cfn-lint.sh run        print where the program is
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

install() { python_env cfn-lint "$emulators/cfn-lint-requirements.txt" 3.13 3.12 3.11 3.10; }

run() {
  install
  echo "$venv/bin/cfn-lint"
}

"$1"
