#!/bin/sh
# Docker and Kubernetes mount secrets as files: NAME_FILE=/run/secrets/x becomes NAME=<its content>, then the command runs.
set -eu
for name in CODEFT_POSTGRES_PASSWORD HF_TOKEN JINA_API_KEY CODEFT_ANNOTATOR_KEY CODEFT_ALERT_WEBHOOK; do
    file=$(printenv "${name}_FILE" || true)
    [ -n "$file" ] || continue
    [ -r "$file" ] || { echo "${name}_FILE names $file, which cannot be read; mount the secret or unset ${name}_FILE" >&2; exit 78; }
    export "$name=$(cat "$file")"
done
exec "$@"
