#!/usr/bin/env bash
# Builds every image of docker/Dockerfile without Docker, and does in each what it is for, as its own user.
# Needs root, buildah and debootstrap (Debian). The base image is a Debian root of the same release with its Python 3.11,
# which stands in for python:3.11-slim-bookworm. Arguments: the stages, default all; `cluster` is train with that extra.
# Pip's settings here are used there.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}"
BASE=localhost/codeft-base:bookworm
ROOT_FOLDER="${CODEFT_BASE_ROOT:-/var/tmp/codeft-base}"

base() {
    if [ ! -x "$ROOT_FOLDER/usr/bin/python3" ]; then
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$ROOT_FOLDER"
    fi
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$ROOT_FOLDER" /
    buildah commit --quiet "$container" "$BASE"
    buildah rm "$container"
}

smoke() {  # what each image is for
    case $1 in
    server) echo 'dagster-webserver --version && dagster-daemon --help > /dev/null && ! python3 -c "import polars" 2> /dev/null' ;;
    data) echo 'export DAGSTER_HOME=$(mktemp -d); dagster asset materialize --select documents/open-tora -m codeft_assets.definitions 2>&1 | tail -n 1; ls /data/tables/documents/open-tora; ! python3 -c "import torch" 2> /dev/null' ;;
    train) echo 'export DAGSTER_HOME=$(mktemp -d); dagster definitions validate -m codeft_assets.definitions 2>&1 | tail -n 1; python3 -m codeft_training train --help > /dev/null; python3 -c "import torch, trl, lm_eval; print(\"torch\", torch.__version__)"' ;;
    cluster) echo 'ray --version; export RAY_ADDRESS=local; python3 -c "import ray, s3fs, torch; print(\"torch\", torch.__version__)"' ;;
    eval) echo 'python3 -m codeft_eval check --benchmark embedded --limit 4; ! python3 -c "import trl" 2> /dev/null' ;;
    esac
}

buildah images --quiet "$BASE" > /dev/null 2>&1 || base
settings=$(mktemp)
trap 'rm "$settings"' EXIT
cat "${PIP_CONFIG_FILE:-/etc/pip.conf}" > "$settings" 2> /dev/null || echo '[global]' > "$settings"
[ -z "${PIP_FIND_LINKS:-}" ] || echo "find-links = $PIP_FIND_LINKS" >> "$settings"
mounts=(--volume /etc/ssl/certs:/etc/ssl/certs:ro --volume "$settings:/etc/pip.conf:ro")
for folder in $(sed -n 's/^find-links *= *//p' "$settings"); do mounts+=(--volume "$folder:$folder:ro"); done

for stage in "${@:-server data train eval}"; do
    for image in $stage; do
        target=$image extras=
        [ "$image" = cluster ] && target=train extras=cluster
        buildah bud --quiet --pull-never --layers --format docker --network host --build-arg "PYTHON_IMAGE=$BASE" \
            --build-arg "EXTRAS=$extras" "${mounts[@]}" --target "$target" --tag "codeft/$image" --file docker/Dockerfile . > /dev/null
        container=$(buildah from --pull-never "localhost/codeft/$image")
        echo "=== $image: $(buildah images --format '{{.Size}}' "localhost/codeft/$image"), of which the base $(buildah images --format '{{.Size}}' "$BASE")"
        buildah run "$container" -- sh -ec "echo user \$(id -u); $(smoke "$image")"
        buildah inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Healthcheck}}' "localhost/codeft/$image"
        buildah rm "$container" > /dev/null
    done
done
