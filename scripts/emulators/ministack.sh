#!/usr/bin/env bash
# ministack 1.5.33: SQS, Lambda (Node.js), DynamoDB, EventBridge, CloudFormation and more, up in half a second.
#
#   ministack.sh install    fetch it into the cache (once)
#   ministack.sh run        serve in the foreground until interrupted; state is in memory
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

install() { python_env ministack "$emulators/ministack-requirements.txt" 3.13 3.12 3.11 3.10; }

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
    "$venv/bin/python" "$emulators/serve_ministack.py"
}

"$1"
