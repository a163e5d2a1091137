"""Training in its own process: a model that loads, a run that goes on after a kill, an error in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers import CrossEncoder

from rerankops.errors import InputError, NotFinite
from rerankops.records import TrainingGroup
from rerankops.scoring import cross_encoder
from rerankops.scoring.cross_encoder import CrossEncoderScorer
from rerankops.training.__main__ import _is_out_of_memory as is_out_of_memory
from rerankops.training.__main__ import _what_to_do as what_to_do
from rerankops.training.__main__ import main
from rerankops.training.process import (
    CHECKPOINTS,
    FAILED,
    JOB,
    LOG,
    OutOfMemory,
    TrainingFailed,
    TrainingInterrupted,
    TrainingJob,
    prepare,
    run_in_subprocess,
)
from rerankops.training.process import _failure as failure
from rerankops.training.trainer import _last_checkpoint as last_checkpoint
from rerankops.training.trainer import train

PAIRS = [("what is red", "title\nit is painted red"), ("what is red", "title\nit is painted blue")]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model gains nothing from threads, and on a busy machine they only wait for one another."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def with_settings(job: TrainingJob, **changes: object) -> TrainingJob:
    return replace(job, settings=job.settings.model_copy(update=changes))


def test_a_job_survives_json(job):
    assert TrainingJob.from_json(job.to_json()) == job


def test_a_trained_model_loads_and_tells_where_it_came_from(job, tmp_path):
    work = tmp_path / "work"
    result = run_in_subprocess(with_settings(job, loss="infonce"), work)
    model = Path(result.model)
    assert result.head == "maxsim"
    assert result.steps == result.history[-1]["step"] > 0
    assert set(result.before) == set(result.after) == {"dev_ndcg@10", "dev_mrr@10"}
    assert not [path for path in model.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert not (work / CHECKPOINTS).exists()
    ours = CrossEncoderScorer(model, max_length=32, batch_size=4, device="cpu").logits(PAIRS)
    theirs = CrossEncoder(str(model), trust_remote_code=True, device="cpu")
    assert theirs.predict(PAIRS) == pytest.approx(1 / (1 + 2.718281828**-ours), abs=1e-4)
    card = (model / "README.md").read_text()
    for said in ("tiny-bert", "training_groups/abc123", "| epochs | 1 |", "`mit`", "a fresh late-interaction head"):
        assert said in card
    before = (model / LOG).stat().st_mtime_ns
    assert run_in_subprocess(with_settings(job, loss="infonce"), work).after == result.after
    assert (model / LOG).stat().st_mtime_ns == before  # done is done


def test_processes_that_train_together_make_one_model(job, tmp_path):
    """As torchrun has them, one a GPU; here they share a processor."""
    work = tmp_path / "work"
    result = run_in_subprocess(job, work, processes=2)
    assert result.steps == result.pairs // (2 * job.settings.batch_size)
    assert result.after["dev_ndcg@10"] >= result.before["dev_ndcg@10"]
    assert not (work / CHECKPOINTS).exists()
    untrained = cross_encoder.logits(
        cross_encoder.load(job.base_model, max_length=32, device="cpu"), PAIRS, batch_size=4
    )
    trained = CrossEncoderScorer(result.model, max_length=32, batch_size=4, device="cpu").logits(PAIRS)
    assert trained != pytest.approx(untrained, abs=1e-3)


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_end(job, tmp_path):
    long = with_settings(job, epochs=6)
    work = tmp_path / "work"
    work.mkdir()
    (work / JOB).write_text(long.to_json())
    command = ["-m", "rerankops.training", "--job", str(work / JOB), "--output", str(work / "model")]
    with (work / "first.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not list((work / CHECKPOINTS).glob("checkpoint-*/trainer_state.json")):
            assert process.poll() is None, (work / "first.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (work / "model" / LOG).exists()
    resumed = run_in_subprocess(long, work)
    assert resumed.resumed_from
    straight = train(long, tmp_path / "straight", checkpoints=tmp_path / "checkpoints")
    assert straight.resumed_from is None
    assert (resumed.steps, resumed.best_step) == (straight.steps, straight.best_step)
    scores = [
        CrossEncoderScorer(r.model, max_length=32, batch_size=4, device="cpu").logits(PAIRS)
        for r in (resumed, straight)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_a_checkpoint_that_was_killed_as_its_last_file_was_written_is_not_gone_on_from(tmp_path):
    for step, text in {5: '{"global_step": 5}', 10: '{"global_step": 10}', 15: '{"global_step"', 20: ""}.items():
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    (tmp_path / "checkpoint-25").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_another_job_in_the_same_folder_starts_afresh_and_the_same_one_does_not(job, tmp_path):
    leftover = prepare(job, tmp_path).parent / CHECKPOINTS / "checkpoint-5"
    leftover.mkdir(parents=True)
    prepare(job, tmp_path)
    assert leftover.exists()
    prepare(with_settings(job, epochs=9), tmp_path)
    assert not leftover.exists()


def test_a_plain_head_on_cls_can_be_asked_for(job, tmp_path):
    result = train(with_settings(job, head="cls"), tmp_path / "model", checkpoints=tmp_path / "checkpoints")
    assert result.head == "cls"
    assert "before training the scores were random" in (tmp_path / "model" / "README.md").read_text()
    assert CrossEncoder(str(tmp_path / "model"), device="cpu").num_labels == 1  # no flag needed


def test_a_loss_that_is_no_number_ends_the_training_and_names_the_pair(job, groups, tmp_path):
    with pytest.raises(NotFinite, match=r"step \d+ of the training has a loss of nan: the logit .* for query 'what is"):
        train(with_settings(job, learning_rate=1e30), tmp_path / "model", checkpoints=tmp_path / "exploded")
    rows = groups.to_pylist()
    for row in rows:
        row["positives"][0]["weight"] = float("nan")
    pq.write_table(TrainingGroup.table(rows), job.groups)
    with pytest.raises(NotFinite, match=r"step 1 .*: the weight in the training set is nan for query .what"):
        train(job, tmp_path / "model", checkpoints=tmp_path / "weighted")


def test_an_empty_split_is_an_error_that_counts(job, groups, tmp_path):
    pq.write_table(groups.filter(pc.equal(groups["split"], "dev")), job.groups)
    with pytest.raises(InputError, match="0 train and 12 dev groups; both are needed"):
        train(job, tmp_path / "model", checkpoints=tmp_path / "checkpoints")


def test_an_error_of_the_training_is_one_line(job, tmp_path, monkeypatch, capsys):
    (tmp_path / JOB).write_text(with_settings(job, mixed_precision="fp16").to_json())
    monkeypatch.setattr("sys.argv", ["training", "--job", str(tmp_path / JOB), "--output", str(tmp_path / "model")])
    assert main() == FAILED
    log = tmp_path / "log"
    log.write_text(capsys.readouterr().err)
    message = str(failure(FAILED, log))
    assert "a CPU cannot train in; use auto or fp32" in message
    assert "\n" not in message


def test_running_out_of_memory_says_what_to_do(job):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert "halve training.batch_size" in what_to_do(job)
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


@pytest.mark.parametrize(
    ("code", "log", "kind", "words"),
    [
        (3, "training: halve training.batch_size", OutOfMemory, "halve training.batch_size"),
        (1, "torch.OutOfMemoryError: CUDA out of memory.", OutOfMemory, "CUDA out of memory"),
        (2, "noise\ntraining: setting x\nmore noise", TrainingFailed, "setting x"),
        (-signal.SIGKILL, "", TrainingInterrupted, "killed by SIGKILL.*out of memory"),
        (-signal.SIGTERM, "", TrainingInterrupted, "killed by SIGTERM; run it again to resume"),
    ],
)
def test_how_a_training_ended_is_told_apart(code, log, kind, words, tmp_path):
    (tmp_path / "log").write_text(log)
    error = failure(code, tmp_path / "log")
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error


@pytest.mark.parametrize(("how", "processes"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2)])
def test_the_training_does_not_outlive_the_task_that_started_it(how, processes, job, tmp_path):
    code = (
        "import signal, sys\nfrom pathlib import Path\n"
        "from rerankops.training.process import TrainingJob, run_in_subprocess\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"here = Path({str(tmp_path)!r})\n"
        "job = TrainingJob.from_json((here / 'asked.json').read_text())\n"
        f"run_in_subprocess(job, here / 'work', processes={processes})"
    )
    (tmp_path / "asked.json").write_text(with_settings(job, epochs=500).to_json())
    parent = subprocess.Popen([sys.executable, "-c", code])
    family = wait_for(lambda: children(parent.pid))
    if processes > 1:
        family += wait_for(lambda: children(family[0]))
    parent.send_signal(how)
    parent.wait()
    wait_for(lambda: not any(map(runs, family)))


def wait_for(look):
    """What it finds."""
    deadline = time.monotonic() + 300
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runs(pid: int) -> bool:
    """Not for one that ended and that nobody has asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
