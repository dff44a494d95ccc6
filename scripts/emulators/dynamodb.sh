#!/usr/bin/env bash
# DynamoDB Local alone, Amazon's own: conditions are evaluated by the real engine. Needs Java 17 and npm, no Python.
#
#   dynamodb.sh install    fetch it into the cache (once)
#   dynamodb.sh run        serve in the foreground until interrupted; state is in memory
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

DYNAMODB_LOCAL=amplify-dynamodb-simulator@2.9.30

# This package merely carries DynamoDB Local; its 283 dependencies stay out.
# Amazon's licence lets us use the jar, not pass it on.
install() {
  find_java >/dev/null
  local home=$cache/dynamodb-local work
  lock dynamodb-local
  if [ "$(cat "$home/installed" 2>/dev/null)" != "$DYNAMODB_LOCAL" ]; then
    echo "unpacking DynamoDB Local from $DYNAMODB_LOCAL" >&2
    work=$(mktemp -d "$cache/unpack.XXXXXX")
    npm pack --silent --pack-destination "$work" "$DYNAMODB_LOCAL" >/dev/null
    tar -xzf "$work"/amplify-dynamodb-simulator-*.tgz -C "$work" package/emulator
    rm -rf "$home"
    mv "$work/package/emulator" "$home"
    rm -rf "$work"
    echo "$DYNAMODB_LOCAL" >"$home/installed"
  fi
  unlock
}

run() {
  local java
  java=$(find_java)
  install
  leash
  cd "$cache/dynamodb-local"
  # Each start unpacks a library where Java keeps what is temporary, and leaves it there.
  # shellcheck disable=SC2086 # Two words.
  exec "$java" $java_options -Djava.io.tmpdir="$(scratch)" -Djava.library.path=DynamoDBLocal_lib -jar DynamoDBLocal.jar -inMemory -sharedDb -disableTelemetry -port "$port"
}

"$1"
