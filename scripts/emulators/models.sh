#!/usr/bin/env bash
# AWS's own models of its services: operations, their members, what each member may be, the rules of their endpoints and
# published cases of these. They come with botocore, from PyPI; the cases are in its source alone.
#
#   models.sh install    fetch them into the cache (once)
#   models.sh run        print the folder: for each service <service>.json, .rules.json and .cases.json, and partitions.json
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

# What ministack has, so that an emulator and the models describe the same day.
botocore=$(sed -n 's/^botocore==//p' "$emulators/ministack-requirements.txt")
# What is taken out of it is said here.
home=$cache/aws-models-$botocore-$(cksum <"${BASH_SOURCE[0]}" | cut -d' ' -f1)

install() {
  local python work
  lock aws-models
  if [ ! -e "$home/ready" ]; then
    python=$(find_python 3.13 3.12 3.11 3.10) || missing "needs Python 3.10 to 3.13; put it on the PATH or name it in PYTHON"
    echo "unpacking the models of botocore $botocore into $home" >&2
    work=$(mktemp -d "$cache/unpack.XXXXXX")
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary botocore --dest "$work" "botocore==$botocore" >&2
    mkdir -p "$home"
    "$python" - "$work" "$home" <<'PYTHON'
import glob, sys, tarfile

work, home = sys.argv[1:]
(source,) = glob.glob(f"{work}/*.tar.gz")
with tarfile.open(source) as archive:
    files = {member.name.partition("/")[2]: member for member in archive if member.isfile()}

    def take(name, to):
        with open(f"{home}/{to}", "wb") as taken:
            taken.write(archive.extractfile(files[name]).read())

    def newest(service, file):
        # A service with several versions is spoken to in its newest.
        return max(name for name in files if name.startswith(f"botocore/data/{service}/") and name.endswith(f"/{file}"))

    for service in ("cloudwatch", "dynamodb", "events", "lambda", "s3", "scheduler", "sqs", "sts"):
        take(newest(service, "service-2.json"), f"{service}.json")
        take(newest(service, "endpoint-rule-set-1.json"), f"{service}.rules.json")
        take(f"tests/functional/endpoint-rules/{service}/endpoint-tests-1.json", f"{service}.cases.json")
    take("botocore/data/partitions.json", "partitions.json")
PYTHON
    rm -rf "$work"
    touch "$home/ready"
  fi
  unlock
}

run() {
  install
  echo "$home"
}

"$1"
