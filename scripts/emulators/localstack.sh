#!/usr/bin/env bash
# LocalStack 4.14.0, the last release that asks for no token, without containers:
# SQS, Lambda (Node.js), DynamoDB, EventBridge rules, CloudFormation, S3, IAM, SSM, Logs.
#
#   localstack.sh install    fetch everything into the cache (once, about a minute and 350 MB)
#   localstack.sh run        serve in the foreground until interrupted; state is in memory
#
# Needs Python 3.13 (3.12 fails: no warnings.deprecated), Node.js 20 and Java 17.
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

LOCALSTACK=localstack-core==4.14.0
RUNTIME_CLIENT=aws-lambda-ric@4.0.2
home=$cache/localstack

# Changes whenever something does that would change the installation.
fingerprint() { cat "$emulators/localstack.sh" "$emulators/localstack/constraints.txt" "$emulators/localstack/rapid-client.cjs" "$emulators"/localstack/executor/pyproject.toml "$emulators"/localstack/executor/lovage_localstack/*.py | cksum; }

install() {
  local python work client
  python=$(find_python 3.13) || missing "needs Python 3.13; put it on the PATH or name it in PYTHON"
  "$emulators/dynamodb.sh" install
  lock localstack
  if [ "$(cat "$home/installed" 2>/dev/null)" != "$(fingerprint)" ]; then
    mkdir -p "$home"
    work=$(mktemp -d "$home/install.XXXXXX")
    echo "installing $LOCALSTACK" >&2
    cp -r "$emulators/localstack/executor" "$work/executor" # a build writes into the source tree
    make_venv "$python" "$home/venv" \
      --constraint "$emulators/localstack/constraints.txt" "${LOCALSTACK/==/[runtime]==}" "$work/executor"
    echo "installing $RUNTIME_CLIENT" >&2
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$home/node" "$RUNTIME_CLIENT" >&2
    # Its scripts build a native module, and this is in its place: `require` takes a folder of the name, too.
    client=$home/node/node_modules/aws-lambda-ric/rapid-client.node
    rm -rf "$client"
    mkdir "$client"
    cp "$emulators/localstack/rapid-client.cjs" "$client/index.cjs"
    echo '{ "main": "index.cjs" }' >"$client/package.json"
    rm -rf "$work"
    fingerprint >"$home/installed"
  fi
  unlock
}

# LocalStack downloads DynamoDB Local and a Java for it unless both are in their places.
place_dynamodb() {
  local lib=$instance/var/lib/localstack/lib java
  java=$(find_java)
  mkdir -p "$lib/dynamodb-local" "$lib/java/21/bin"
  ln -sfn "$cache/dynamodb-local" "$lib/dynamodb-local/2"
  # This java drops LocalStack's -javaagent, which only lifts the limit of 20 indexes per table,
  # and ends when LocalStack does, which has started it in a session of its own.
  cat >"$lib/java/21/bin/java" <<END
#!/bin/sh
localstack=\$PPID
{ while kill -0 "\$localstack"; do sleep 1; done; kill -KILL \$\$; } >/dev/null 2>&1 &
for arg do
  shift
  case \$arg in -javaagent:*) ;; *) set -- "\$@" "\$arg" ;; esac
done
exec '$java' $java_options "\$@"
END
  chmod +x "$lib/java/21/bin/java"
}

run() {
  local node instance=$cache/instances/localstack-$port
  node=$(find_node)
  install
  place_dynamodb
  unset AWS_PROFILE AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3

  # Where it lives and what it calls itself. It takes a container for its own image unless told otherwise.
  export OVERRIDE_IN_DOCKER=0 FILESYSTEM_ROOT=$instance TMPDIR
  TMPDIR=$(scratch)
  export GATEWAY_LISTEN=127.0.0.1:$port LOCALSTACK_HOST=127.0.0.1:$port SQS_ENDPOINT_STRATEGY=path
  # Nothing leaves this machine.
  export DNS_ADDRESS=0 DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1

  export LAMBDA_RUNTIME_EXECUTOR=process
  export LAMBDA_PROCESS_RIC=$home/node/node_modules/aws-lambda-ric/index.mjs LAMBDA_PROCESS_NODE=$node
  export DYNAMODB_IN_MEMORY=1 DYNAMODB_REMOVE_EXPIRED_ITEMS=1
  # Event source mappings rest 1 s after each batch and up to 10 s on an empty queue by default.
  export LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC=0.05 LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC=0.25

  leash
  exec "$home/venv/bin/python" -m localstack.runtime.main
}

"$1"
