#!/bin/bash
# Runs once, when the volume is empty: a database and a login of its own for Airflow and for MLflow.
set -euo pipefail

for name in airflow mlflow; do
  variable="${name^^}_DB_PASSWORD"
  psql --no-psqlrc --set ON_ERROR_STOP=1 --set name="$name" --set password="${!variable:?}" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
