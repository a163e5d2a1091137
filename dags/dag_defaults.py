"""What every DAG here shares: assets, retries, time-outs, and a form that refuses what it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule

CORPUS = Asset("rerankops://corpus")
"""Updated from outside, when the passages that sources.corpus names have changed."""
INDEX = Asset("rerankops://index")
BATCH = Asset("rerankops://annotation-batch")
JUDGMENTS = Asset("rerankops://judgments")
CHAMPION = Asset("rerankops://champion")

OWNER = "rerankops"
GPU = {"pool": "gpu", "queue": "gpu"}
"""For tasks that want the GPU: one slot, and a worker that listens to this queue where queues exist."""
REGISTRY = {"pool": "registry"}
"""For tasks that move an alias: one at a time."""

DEFAULTS: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "dagrun_timeout": timedelta(hours=12),
    "default_args": {
        "owner": OWNER,
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=1),
        "retry_policy": ExceptionRetryPolicy(
            rules=[
                RetryRule(
                    exception="rerankops.errors.ServerUnavailable",
                    action=RetryAction.RETRY,
                    reason="a server was away or busy; it may be back",
                ),
                RetryRule(
                    exception="rerankops.errors.RerankopsError",
                    action=RetryAction.FAIL,
                    reason="the same input would fail again; the message says what to do",
                ),
            ]
        ),
    },
}


def context() -> Any:
    """What the steps work with, and the servers that Airflow connections name when some are set."""
    from dataclasses import replace

    from rerankops.pipeline import context

    here = context.load()
    if named := here.settings.elasticsearch.airflow_connection:
        from rerankops_elasticsearch import ElasticsearchHook

        here = replace(here, connection=ElasticsearchHook(named).get_conn())
    if named := here.settings.label_studio.airflow_connection:
        from rerankops_label_studio import LabelStudioHook

        here = replace(here, label_studio=LabelStudioHook(named).get_conn())
    return here


def who_asked(dag_run: Any) -> str:
    """Who started a run by hand, as Airflow's login knows them: nobody can type another name. Without a scheduler
    (`dag.test()`) it is the user of this process."""
    from rerankops.pipeline.models import person

    name = dag_run.triggering_user_name
    return person() if name in {None, "dag_test"} else str(name)


def refuse_unknown(params: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Airflow accepts any key in a run's configuration; a misspelt one would be ignored in silence."""
    from rerankops.errors import SettingsError

    unknown = sorted(set(params) - set(known))
    if unknown:
        raise SettingsError(f"unknown parameter {unknown[0]!r}; this DAG knows {sorted(known)}")
