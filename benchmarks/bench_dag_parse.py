"""What a DAG file costs the parser, beside the `import airflow.sdk` that every DAG file pays.

    python benchmarks/bench_dag_parse.py [--repetitions 5]

Every measurement is a fresh process that imports airflow.sdk and then executes one DAG file, so that baseline and ours
are timed in the same process, minutes and load. `smallest` is a DAG of one empty task: what any DAG file costs, since
airflow.sdk loads much of itself only when its names are used. CPU seconds stand beside wall-clock seconds because
others may use the machine. Results go to benchmarks/results/dag_parse.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
DAGS = PROJECT / "dags"
RESULTS = PROJECT / "benchmarks" / "results"
SHARED = {"dag_defaults"}
SMALLEST = """
from airflow.sdk import dag, task

@dag(schedule=None)
def smallest():
    @task
    def nothing():
        pass

    nothing()

smallest()
"""
PROGRAM = """
import json, sys, time

def seconds():
    return time.perf_counter(), time.process_time()

start = seconds()
import airflow.sdk
baseline = seconds()
source = open(sys.argv[1], encoding="utf-8").read()
before = seconds()
exec(compile(source, sys.argv[1], "exec"), {"__name__": "parsed", "__file__": sys.argv[1]})
end = seconds()
print(json.dumps({
    "baseline": [b - a for a, b in zip(start, baseline)],
    "file": [b - a for a, b in zip(before, end)],
}))
"""


def measure(file: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    """[wall, CPU] seconds of importing airflow.sdk and of executing the file after it, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)], env=environment, capture_output=True, text=True, check=True
    )
    measured: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return measured


def machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "airflow": version("apache-airflow"),
        "load_average": round(os.getloadavg()[0], 1),
    }


def summary(samples: list[list[float]]) -> dict[str, Any]:
    wall, cpu = zip(*samples, strict=True)
    return {
        "wall_seconds": round(median(wall), 4),
        "wall_range": [round(min(wall), 4), round(max(wall), 4)],
        "cpu_seconds": round(median(cpu), 4),
        "samples": len(samples),
    }


def page(result: dict[str, Any]) -> str:
    of = result["machine"]
    rows = [("`import airflow.sdk` (baseline)", result["baseline"]), ("smallest possible DAG", result["smallest"])]
    rows += [(f"`dags/{name}.py`", row) for name, row in result["dags"].items()]
    table = "\n".join(
        f"| {name} | {row['wall_seconds']:.3f} | {row['wall_range'][0]:.3f}–{row['wall_range'][1]:.3f} "
        f"| {row['cpu_seconds']:.3f} | {row['samples']} |"
        for name, row in rows
    )
    return (
        f"# What a DAG file costs the parser\n\n{result['headline']}\n\n"
        f"Measured {result['measured_at'][:10]} on {of['cores']} cores ({of['processor']}), Python {of['python']}, "
        f"Airflow {of['airflow']}, load average {of['load_average']} before the run. Medians; each sample is a fresh "
        "process that imports airflow.sdk and then executes one file; the file's time is what it takes beyond that "
        "import.\n\n"
        f"| | wall s | range | CPU s | samples |\n|---|---:|---:|---:|---:|\n{table}\n\n"
        "Again: `python benchmarks/bench_dag_parse.py`.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    before = machine()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        smallest = home / "smallest.py"
        smallest.write_text(SMALLEST, encoding="utf-8")
        ours = sorted(path for path in DAGS.glob("*.py") if path.stem not in SHARED)
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RERANKOPS"))}
        environment = outer | {
            "AIRFLOW_HOME": scratch,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "PYTHONPATH": str(DAGS),
        }
        measure(smallest, environment)  # the first process reads Airflow from a cold disk
        samples: dict[str, list[dict[str, list[float]]]] = {path.stem: [] for path in (smallest, *ours)}
        for number in range(repetitions):
            for path in (smallest, *ours):
                samples[path.stem].append(measure(path, environment))
            print(f"round {number + 1} of {repetitions}", file=sys.stderr)
    files = {name: summary([one["file"] for one in rows]) for name, rows in samples.items()}
    baseline = summary([one["baseline"] for rows in samples.values() for one in rows])
    own = {name: row for name, row in files.items() if name != "smallest"}
    typical = median(row["wall_seconds"] for row in own.values())
    headline = (
        f"{typical:.2f} s a DAG file beyond airflow.sdk's {baseline['wall_seconds']:.1f} s "
        f"({typical / baseline['wall_seconds']:.0%}), {before['cores']} cores"
    )
    result = {
        "headline": headline,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "baseline": baseline,
        "smallest": files["smallest"],
        "dags": own,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "dag_parse.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "dag_parse.md").write_text(page(result), encoding="utf-8")
    print(headline)


if __name__ == "__main__":
    main()
