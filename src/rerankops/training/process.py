"""Training from the outside: what is asked (a job), what came of it (a result), and the process between them.

Training has its own process so that no GPU context is made in a forked task, its memory is all given back, and being
killed costs no more than the steps since the last checkpoint: the same job in the same work folder goes on from there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rerankops.config import TrainingSettings
from rerankops.errors import RerankopsError

JOB, LOG, CHECKPOINTS, OUTPUT, STDERR = "job.json", "training_log.json", "checkpoints", "model", "stderr.log"
FAILED, OUT_OF_MEMORY = 2, 3
"""Exit codes of the training process."""
_TAIL = 8


class TrainingFailed(RerankopsError):
    """The training process ended with an error; the last lines of its log are in the message."""


class OutOfMemory(TrainingFailed):
    """The training step did not fit the device's memory; again on the same machine it would not fit again."""


class TrainingInterrupted(RuntimeError):
    """The training process was killed from outside; running the same job in the same folder resumes it."""


@dataclass(frozen=True)
class TrainingJob:
    """groups: Parquet file of records.TrainingGroup, both splits. base_model: folder or hub name, already resolved.
    data: addresses of what the groups were made from. base_name: what to call the base model; both for the card.
    """

    groups: str
    base_model: str
    settings: TrainingSettings
    data: tuple[str, ...] = ()
    base_name: str | None = None

    def to_json(self) -> str:
        values = asdict(self) | {"settings": self.settings.model_dump(mode="json")}
        return json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainingJob:
        values = json.loads(text)
        return cls(
            **values
            | {"settings": TrainingSettings.model_validate(values["settings"]), "data": tuple(values.get("data", ()))}
        )


@dataclass(frozen=True)
class TrainingResult:
    """model: the folder, loadable by scoring.cross_encoder.load. head: `own`, `cls` or `maxsim` (the last two fresh).
    before, after: dev metrics of the model as it began and of the best checkpoint. best_step: which one it was.
    resumed_from: the step a former attempt had reached, None for a run in one go."""

    model: str
    head: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    best_step: int
    steps: int
    pairs: int
    seconds: float
    device: str
    precision: str
    resumed_from: int | None = None
    history: tuple[Mapping[str, float], ...] = field(default=(), repr=False)


def read_result(folder: Path) -> TrainingResult:
    """The result that a finished training left in its model folder. Raises TrainingFailed when it cannot be read."""
    try:
        values = json.loads((folder / LOG).read_text(encoding="utf-8"))["result"]
        return TrainingResult(**values | {"model": str(folder), "history": tuple(values["history"])})
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise TrainingFailed(
            f"{folder / LOG} is not what a training wrote; delete {folder} and run it again"
        ) from error


def run_in_subprocess(
    job: TrainingJob, work_dir: Path, *, processes: int | None = None, environment: Mapping[str, str] | None = None
) -> TrainingResult:
    """Train in a process of its own (torchrun when there are several GPUs) and return what came of it.

    work_dir: a folder of this job alone; it keeps the checkpoints until the job is done, stderr.log, and the model in
    `model/`. A job that is already done there is not trained again; another job there starts afresh.
    processes: None takes one a GPU. environment: variables to add, such as CUDA_VISIBLE_DEVICES.

    Raises OutOfMemory or TrainingFailed (running again would fail again), TrainingInterrupted (killed; run it again).
    """
    output, job_file = prepare(job, work_dir), work_dir / JOB
    if (output / LOG).is_file():
        return read_result(output)

    count = processes or (max(1, len(_gpus())) if job.settings.device in (None, "cuda") else 1)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
    command = [sys.executable, *launcher, "-m", "rerankops.training", "--job", str(job_file), "--output", str(output)]
    with (
        (work_dir / STDERR).open("wb") as log,
        # The training ends when this pipe does, however this task is stopped, be it while Popen is still at work.
        subprocess.Popen(
            [*command, "--end-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        ) as process,
    ):
        code = process.wait()
    if code == 0:
        return read_result(output)
    raise _failure(code, work_dir / STDERR)


def prepare(job: TrainingJob, work_dir: Path) -> Path:
    """Make the folder this job's: what another job left there is removed, what this one left stays to be resumed.
    Returns the folder that the model is to be written to."""
    output, job_file = work_dir / OUTPUT, work_dir / JOB
    work_dir.mkdir(parents=True, exist_ok=True)
    text = job.to_json()
    if not job_file.is_file() or job_file.read_text(encoding="utf-8") != text:
        for stale in (output, work_dir / CHECKPOINTS):
            shutil.rmtree(stale, ignore_errors=True)
        job_file.write_text(text, encoding="utf-8")
    return output


def _failure(code: int, log: Path) -> Exception:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("training:")), None)
    told = last.removeprefix("training:").strip() if last else " | ".join(lines[-_TAIL:])
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; if it happens again, the machine is out of memory" if code == -signal.SIGKILL else ""
        return TrainingInterrupted(f"training was killed by {name}; run it again to resume from its checkpoint{hint}")
    if code == OUT_OF_MEMORY or any("out of memory" in line.lower() for line in lines[-40:]):
        return OutOfMemory(f"training ran out of memory: {told}")
    return TrainingFailed(f"training failed (exit {code}): {told}; the whole log is {log}")


def _gpus() -> list[str]:
    """NVIDIA devices this process may use, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device.strip() not in ("", "-1")]
    devices = Path("/proc/driver/nvidia/gpus")
    return sorted(path.name for path in devices.iterdir()) if devices.is_dir() else []
