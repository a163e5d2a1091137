"""Writes .env for docker-compose.yml: a random secret for every one it needs, and every setting it knows, commented.

    python scripts/make_env.py [PATH]

An existing file is never overwritten: its secrets are those of the volumes.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

SECRETS = {
    "POSTGRES_PASSWORD": "PostgreSQL's superuser",
    "AIRFLOW_DB_PASSWORD": "Airflow's login to its database",
    "MLFLOW_DB_PASSWORD": "MLflow's login to its database",
    "AIRFLOW_FERNET_KEY": "encrypts connections and variables in Airflow's database: lose it and they are lost",
    "AIRFLOW_JWT_SECRET": "signs Airflow's tokens",
    "AIRFLOW_API_SECRET_KEY": "signs sessions and requests for logs",
    "AIRFLOW_ADMIN_PASSWORD": "the first administrator of Airflow's UI; set once, by airflow-init",
    "MLFLOW_ADMIN_PASSWORD": "MLflow's user admin, whom the pipeline uses too",
    "MLFLOW_SECRET_KEY": "signs MLflow's sessions",
    "ELASTIC_PASSWORD": "Elasticsearch's user elastic",
}

SETTINGS = {
    "AIRFLOW_ADMIN_USER": ("admin", "name and mail address of the first administrator"),
    "AIRFLOW_ADMIN_EMAIL": ("admin@localhost.localdomain", ""),
    "RERANKOPS_BIND": ("127.0.0.1", "address on which the ports are published; put TLS before any other"),
    "RERANKOPS_AIRFLOW_PORT": ("8080", ""),
    "RERANKOPS_MLFLOW_PORT": ("5000", ""),
    "RERANKOPS_AIRFLOW_URL": ("http://localhost:8080", "Airflow's address as a browser sees it"),
    "RERANKOPS_MLFLOW_URL": ("http://localhost:5000", "MLflow's address as a browser sees it; links to reports"),
    "RERANKOPS_MLFLOW_HOSTS": ("mlflow:5000,localhost:*,127.0.0.1:*", "Host headers that MLflow accepts"),
    "RERANKOPS_CONFIG": ("production", "overlay over configs/base.yaml"),
    "RERANKOPS_DATA": ("./data", "folder that the tasks see, read only, as /data"),
    "RERANKOPS_CORPUS": ("/data/corpus.jsonl", "settings sources.corpus, sources.gold, query_log.location"),
    "RERANKOPS_GOLD": ("/data/gold.jsonl", ""),
    "RERANKOPS_QUERY_LOG": ("/data/query_log", ""),
    "RERANKOPS_QUERY_LOG_SOURCE": ("files", "setting query_log.source: files, sql or elasticsearch"),
    "RERANKOPS_QUERY_LOG_URL": ("", "the database of a log in sql, postgresql://user:password@host/database"),
    "RERANKOPS_ANNOTATION_CHANNEL": ("files", "setting annotation.channel: files or label_studio"),
    "RERANKOPS_LABEL_STUDIO_URL": ("", "your Label Studio server, and a token of it"),
    "RERANKOPS_LABEL_STUDIO_TOKEN": ("", ""),
    "RERANKOPS_LLM_URL": ("", "an OpenAI-compatible server, what it calls the model, and its key"),
    "RERANKOPS_LLM_MODEL": ("", ""),
    "RERANKOPS_LLM_API_KEY": ("", ""),
    "RERANKOPS_WORKSPACE": ("/var/lib/rerankops/workspace", "setting workspace.root; a volume, or s3://…"),
    "RERANKOPS_RETRIEVAL_BACKEND": ("embedded", "setting retrieval.backend: embedded or elasticsearch"),
    "RERANKOPS_PARALLELISM": ("8", "tasks at once"),
    "RERANKOPS_SCHEDULER_MEMORY": ("16g", "limit of the container in which tasks run"),
    "RERANKOPS_ELASTICSEARCH_HEAP": ("1g", ""),
    "RERANKOPS_ELASTICSEARCH_MEMORY": ("3g", ""),
    "RERANKOPS_VERSION": ("local", "tag of the images built here"),
}


def content() -> str:
    """The file's text, with fresh secrets: letters and digits, which need no quoting in a URL or a shell."""
    lines = ["# Made by scripts/make_env.py for docker-compose.yml. Keep it private and keep it with the volumes.", ""]
    for name, purpose in SECRETS.items():
        key = base64.urlsafe_b64encode(os.urandom(32)).decode() if name == "AIRFLOW_FERNET_KEY" else None
        lines += [f"# {purpose}", f"{name}={key or secrets.token_hex(24)}"]
    lines += ["", "# Settings, with their defaults: take away the # to change one."]
    for name, (default, purpose) in SETTINGS.items():
        lines += [f"# {purpose}"] if purpose else []
        lines.append(f"#{name}={default}")
    return "\n".join(lines) + "\n"


def write(path: Path) -> bool:
    """Creates `path`, readable by its owner alone; False when there is one already, which stays as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content())
    return True


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    path = Path(arguments[0]) if arguments else PROJECT / ".env"
    print(f"{path} written, readable by you alone." if write(path) else f"{path} exists; it is left as it is.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
