#!/usr/bin/env bash
# AWS's own models of its services: operations, their members, and what each member may be. They come with botocore, from PyPI.
#
#   models.sh install    fetch them into the cache (once)
#   models.sh run        print the folder: <service>.json for each
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

# What ministack has, so that an emulator and the models describe the same day.
botocore=$(sed -n 's/^botocore==//p' "$emulators/ministack-requirements.txt")
home=$cache/aws-models-$botocore

install() {
  local python work
  python=$(find_python 3.13 3.12 3.11 3.10) || missing "needs Python 3.10 to 3.13; put it on the PATH or name it in PYTHON"
  lock aws-models
  if [ ! -e "$home/ready" ]; then
    echo "unpacking the models of botocore $botocore into $home" >&2
    work=$(mktemp -d "$cache/unpack.XXXXXX")
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "botocore==$botocore" >&2
    mkdir -p "$home"
    "$python" - "$work" "$home" <<'PYTHON'
import glob, gzip, sys, zipfile

work, home = sys.argv[1:]
(wheel,) = glob.glob(f"{work}/*.whl")
with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    for service in ("cloudwatch", "dynamodb", "events", "lambda", "s3", "scheduler", "sqs"):
        # A service with several versions is spoken to in its newest.
        newest = max(name for name in names if name.startswith(f"botocore/data/{service}/") and name.endswith("/service-2.json.gz"))
        with open(f"{home}/{service}.json", "wb") as model:
            model.write(gzip.decompress(archive.read(newest)))
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
