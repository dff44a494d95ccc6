#!/usr/bin/env bash
# ministack 1.5.33: SQS, Lambda (Node.js), DynamoDB, EventBridge, CloudFormation and more, up in half a second.
#
#   ministack.sh install    fetch it into the cache (once)
#   ministack.sh run        serve in the foreground until interrupted; state is in memory
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

install() {
  local python
  python=$(find_python 3.13 3.12 3.11 3.10) || missing "needs Python 3.10 to 3.13; put it on the PATH or name it in PYTHON"
  lock ministack
  # The folder is named after the pins and the interpreter: changed pins make a fresh environment, an aborted install is never used.
  venv=$cache/ministack-$({ cat "$emulators/ministack-requirements.txt"; "$python" -VV; } | cksum | cut -d' ' -f1)
  if [ ! -e "$venv/ready" ]; then
    echo "installing ministack into $venv" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$emulators/ministack-requirements.txt" >&2
    touch "$venv/ready"
  fi
  unlock
}

run() {
  local node home=$cache/instances/ministack-$port
  node=$(find_node)
  install
  mkdir -p "$home"
  leash
  # Functions inherit this environment, so it is emptied: a variable of the developer's shell must not make a deploy pass.
  exec env -i \
    PATH="$(dirname "$node"):/usr/local/bin:/usr/bin:/bin" HOME="$home" TMPDIR="$(scratch)" TZ=:UTC LANG=C.UTF-8 \
    BIND_HOST=127.0.0.1 MINISTACK_HOST=127.0.0.1 GATEWAY_PORT="$port" LAMBDA_EXECUTOR=local \
    IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 AUTH="${LOVAGE_EMULATOR_IAM:-false}" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \
    "$venv/bin/python" "$emulators/ministack_iam.py"
}

"$1"
