#!/bin/bash
# One-shot service airflow-init: database, pools, the first administrator. Running it again changes nothing that exists.
set -euo pipefail

: "${AIRFLOW_ADMIN_USER:?}" "${AIRFLOW_ADMIN_EMAIL:?}" "${AIRFLOW_ADMIN_PASSWORD:?run make env}"

airflow db migrate

# An operator may have resized a pool: only missing ones are made.
for pool in "gpu:Work that needs the GPU: one at a time" "registry:Writers of the model registry: one at a time"; do
  name="${pool%%:*}"
  if ! airflow pools get "$name" >/dev/null 2>&1; then
    airflow pools set "$name" 1 "${pool#*:}"
  fi
done

# Says so and succeeds when the user exists; the password is then left as it is. Airflow asks for it twice and, without a
# terminal, reads it from its input: what stands among the arguments of a process, everybody may list. printf is bash's own.
printf '%s\n' "$AIRFLOW_ADMIN_PASSWORD" "$AIRFLOW_ADMIN_PASSWORD" |
  airflow users create --role Admin --username "$AIRFLOW_ADMIN_USER" \
    --email "$AIRFLOW_ADMIN_EMAIL" --firstname rerankops --lastname administrator
