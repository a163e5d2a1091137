"""An Airflow connection as rerankops' own: URL, certificate authority and token of a Label Studio server.

Host, port and schema (http or https) are the server, the password is the token; `"token"` in extra serves as well, and
`"path"` there for a server that does not stand at the root of its host. `"ca_certs"` in extra is the path of a PEM file
on the workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from rerankops.errors import SettingsError

if TYPE_CHECKING:
    from rerankops.annotation.label_studio import Connection


class LabelStudioHook(BaseHook):
    """Reads the connection `conn_id`; opening it is left to rerankops, which does so lazily and retries its own way."""

    conn_name_attr = "conn_id"
    conn_type = "label_studio"
    hook_name = "Label Studio (rerankops)"

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_conn(self) -> Connection:
        """Raises SettingsError when the connection names no host or has no token, AirflowNotFoundException when there
        is none."""
        from rerankops.annotation.label_studio import Connection  # Airflow loads plugins in every task

        stored = self.get_connection(self.conn_id)
        extra = stored.extra_dejson
        token = stored.password or extra.get("token")
        if not stored.host or not token:
            raise SettingsError(f"Airflow connection {self.conn_id!r} has no {'token' if stored.host else 'host'}")
        port = f":{stored.port}" if stored.port else ""
        path = f"/{str(extra['path']).strip('/')}" if extra.get("path") else ""
        return Connection(f"{stored.schema or 'http'}://{stored.host}{port}{path}", token, extra.get("ca_certs"))
