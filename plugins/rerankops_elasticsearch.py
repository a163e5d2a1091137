"""An Airflow connection as rerankops' own: hosts, certificate authority and credentials of an Elasticsearch cluster.

The connection's host, port and schema (http or https) are one server; more go into extra as
`"hosts": ["https://…", …]`.
Login and password, or `"api_key"` in extra; `"ca_certs"` in extra is the path of a PEM file on the workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from rerankops.errors import SettingsError

if TYPE_CHECKING:
    from rerankops.elastic import Connection


class ElasticsearchHook(BaseHook):
    """Reads the connection `conn_id`; opening it is left to rerankops, which does so lazily and retries its own way."""

    conn_name_attr = "conn_id"
    conn_type = "elasticsearch"
    hook_name = "Elasticsearch (rerankops)"

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_conn(self) -> Connection:
        """Raises SettingsError when the connection names no host, AirflowNotFoundException when there is none."""
        from rerankops.elastic import Connection  # Airflow loads plugins in every task

        stored = self.get_connection(self.conn_id)
        extra = stored.extra_dejson
        hosts = extra.get("hosts") or []
        if isinstance(hosts, str):  # in a connection that is written as a URI everything is text
            hosts = hosts.split(",")
        hosts = [host.strip() for host in hosts]
        if stored.host:
            hosts.insert(0, f"{stored.schema or 'http'}://{stored.host}:{stored.port or 9200}")
        if not hosts:
            raise SettingsError(f"Airflow connection {self.conn_id!r} names no host")
        return Connection(
            tuple(dict.fromkeys(hosts)), extra.get("ca_certs"), extra.get("api_key"), stored.login, stored.password
        )
