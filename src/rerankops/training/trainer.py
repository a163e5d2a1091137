"""One training run, inside its own process: sentence-transformers' trainer, with what it lacks.

Ours: batches bucketed by token length, the passage alone truncated, a late-interaction head for encoders without a
ranking head, checkpoints and models without pickles in what is kept, and a model card that says where it came from.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import transformers
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from transformers import TrainerCallback

from rerankops.config import TrainingSettings
from rerankops.errors import InputError, NotFinite, SettingsError
from rerankops.files import write_whole
from rerankops.records import TrainingGroup
from rerankops.scoring import cross_encoder, finite
from rerankops.scoring.maxsim import MaxSimTransformer
from rerankops.training import formats
from rerankops.training.evaluator import DevGroupsEvaluator
from rerankops.training.losses import Loss, named
from rerankops.training.process import LOG, TrainingJob, TrainingResult
from rerankops.training.sampling import length_bucketed

LOG_EVERY = 10
EVALUATION_BATCH = 32


def train(job: TrainingJob, output: Path, *, checkpoints: Path) -> TrainingResult:
    """Train the job's model and leave it in `output` with README.md and, last of all, training_log.json.

    checkpoints: what a former attempt left there is continued from; it is removed at the end. The model kept is the
    checkpoint with the best NDCG@10 on the dev groups. Under torchrun (RANK, LOCAL_RANK, WORLD_SIZE) the processes
    share every step, each with a batch of its own, and the first one writes.
    Raises InputError when a split is empty, ModelUnavailable, SettingsError.
    """
    settings, began = job.settings, time.monotonic()
    groups = TrainingGroup.conform(pq.read_table(job.groups))
    train_groups, dev_groups = (groups.filter(pc.equal(groups["split"], split)) for split in ("train", "dev"))
    if not train_groups.num_rows or not dev_groups.num_rows:
        raise InputError(
            f"{job.groups}: {train_groups.num_rows} train and {dev_groups.num_rows} dev groups; both are needed"
        )

    transformers.set_seed(settings.seed)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # what `cuda` is from here on
    model = cross_encoder.load(
        job.base_model, max_length=settings.max_length, device=settings.device, head=settings.head
    )
    head = _head(model, job.base_model)
    loss = named(settings.loss)
    rows = _rows(train_groups, loss, model)
    data = formats.dataset(rows, checkpoints / "data", f"train-{os.environ.get('RANK', '0')}")
    if head == "maxsim" and loss.form == "pointwise":
        _centre(model, rows)
    evaluator = DevGroupsEvaluator(dev_groups, batch_size=EVALUATION_BATCH)
    before = evaluator(model)

    pairs = sum(map(len, rows["passages"].to_pylist())) if loss.form == "listwise" else rows.num_rows
    batch = max(1, round(settings.batch_size * rows.num_rows / pairs))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    steps = settings.epochs * math.ceil(rows.num_rows / (batch * world))
    precision = _precision(settings, model.device)
    trainer = _Trainer(
        model=model,
        args=CrossEncoderTrainingArguments(
            output_dir=str(checkpoints),
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=batch,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup_ratio,
            weight_decay=settings.weight_decay,
            bf16=precision == "bf16",
            fp16=precision == "fp16",
            batch_sampler=length_bucketed(_lengths(rows, loss, model)),
            eval_strategy="steps",
            eval_steps=min(settings.evaluation_steps, max(1, steps // settings.epochs)),
            save_strategy="steps",
            save_steps=min(settings.evaluation_steps, max(1, steps // settings.epochs)),
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model=f"eval_{evaluator.primary_metric}",
            greater_is_better=True,
            logging_steps=LOG_EVERY,
            seed=settings.seed,
            use_cpu=model.device.type == "cpu",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=model.device.type == "cuda",
        ),
        train_dataset=data,
        loss=loss.make(model),
        evaluator=evaluator,
        callbacks=[_EvaluateAtTheEnd()],
    )
    resume = _last_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)

    best = trainer.state.best_model_checkpoint
    result = TrainingResult(
        model=str(output),
        head=head,
        before=before,
        after=evaluator(model),
        best_step=int(Path(best).name.split("-")[-1]) if best else trainer.state.global_step,
        steps=trainer.state.global_step,
        pairs=pairs,
        seconds=round(time.monotonic() - began, 1),
        device=_device_name(model.device),
        precision=precision,
        resumed_from=int(resume.name.split("-")[-1]) if resume else None,
        history=tuple(trainer.state.log_history),
    )
    trainer.accelerator.wait_for_everyone()  # the others may still be reading the best checkpoint
    if trainer.is_world_process_zero():
        _publish(model, job, result, groups, output)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return result


class _Trainer(CrossEncoderTrainer):  # type: ignore[misc]
    """Saves weights alone: no generated card, which would ask the hub, and no pickled arguments."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)

    def _load_best_model(self) -> None:
        """Unlike the library's, an error here is an error."""
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def override_model_in_loss(self, loss: Any, model: Any) -> Any:
        """The library gives the losses DistributedDataParallel to call. That looks for what came of its forward in
        dicts alone; the scores are in a BatchEncoding, so it would take every parameter for unused and fail."""
        if model is not self.model and not hasattr(model, "preprocess"):
            prepared = self.model.preprocess
            model.preprocess = lambda *args, **kwargs: dict(prepared(*args, **kwargs))
        return super().override_model_in_loss(loss, model)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Unlike the library's, a loss that is no number is an error: it would be logged as the mean of those before
        it, and every step after it would be wasted."""
        batch = dict(inputs)
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        value = float((loss[0] if return_outputs else loss).detach())
        if not math.isfinite(value):
            _refuse_loss(self.model, batch, value, self.state.global_step + 1)
        return loss

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        return None


def _refuse_loss(model: CrossEncoder, batch: Mapping[str, Any], loss: float, step: int) -> NoReturn:
    """Raises NotFinite with the pair that made the loss of a batch what it is: of a logit, weight or label."""
    lists = [row if isinstance(row, list) else [row] for row in batch.get("passages", batch.get("passage"))]
    pairs = [(query, passage) for query, row in zip(batch["query"], lists, strict=True) for passage in row]
    queries, passages = zip(*pairs, strict=True)
    with finite.of(f"step {step} of the training has a loss of {loss}"):
        for name in ("weight", "weights", "label"):
            if name in batch:
                values = np.concatenate([np.ravel(np.asarray(row, dtype=np.float64)) for row in batch[name]])
                finite.refuse(values, f"the {name} in the training set", queries, passages, "label it again")
        cross_encoder.logits(model, pairs, batch_size=len(pairs))
        raise NotFinite(
            f"no logit, weight or label of its {len(pairs)} pairs is to blame, of which the first has query "
            f"{finite.short(queries[0])} and passage {finite.short(passages[0])}; lower training.learning_rate, or set "
            "training.mixed_precision: fp32"
        )


class _EvaluateAtTheEnd(TrainerCallback):  # type: ignore[misc]
    """The library saves after the last step but evaluates only at multiples of eval_steps."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        return control


def _head(model: CrossEncoder, base: str) -> str:
    if cross_encoder.has_ranking_head(base):
        return "own"
    return "maxsim" if isinstance(model[0], MaxSimTransformer) else "cls"


def _rows(groups: pa.Table, loss: Loss, model: CrossEncoder) -> pa.Table:
    table = formats.render(groups, loss.form, loss.label)
    queries = pa.array(cross_encoder.fitting(table["query"].to_pylist(), model))
    table = table.set_column(0, "query", queries)
    unused = [] if loss.weighted else [name for name in ("weight", "weights") if name in table.column_names]
    return table.drop_columns(unused)


def _pairs(rows: pa.Table, loss: Loss) -> list[list[tuple[str, str]]]:
    """The pairs of each row."""
    if loss.form == "listwise":
        both = zip(rows["query"].to_pylist(), rows["passages"].to_pylist(), strict=True)
        return [[(query, passage) for passage in passages] for query, passages in both]
    return [[pair] for pair in zip(rows["query"].to_pylist(), rows["passage"].to_pylist(), strict=True)]


def _lengths(rows: pa.Table, loss: Loss, model: CrossEncoder) -> list[int]:
    """Tokens of each row's longest pair."""
    pairs = _pairs(rows, loss)
    ids = cross_encoder.encode(model, [pair for row in pairs for pair in row])["input_ids"]
    lengths = iter([len(tokens) for tokens in ids])
    return [max(next(lengths) for _ in row) for row in pairs]


def _centre(model: CrossEncoder, rows: pa.Table) -> None:
    """Move a fresh late-interaction head's bias so that logits begin around the log-odds of the labels: a pointwise
    loss would else spend its first steps on undoing an offset that no ranking depends on."""
    sample = rows.slice(0, 64)
    scores = cross_encoder.logits(
        model, list(zip(sample["query"].to_pylist(), sample["passage"].to_pylist(), strict=True)), batch_size=16
    )
    rate = float(np.clip(np.mean(rows["label"].to_numpy()), 0.05, 0.95))
    with torch.no_grad():
        model[0].head.linear.bias += math.log(rate / (1 - rate)) - float(scores.mean())


def _precision(settings: TrainingSettings, device: torch.device) -> str:
    asked = settings.mixed_precision
    if asked == "fp16" and device.type == "cpu":
        raise SettingsError("training.mixed_precision is fp16, which a CPU cannot train in; use auto or fp32")
    if asked != "auto":
        return asked
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest one that was written whole: trainer_state.json, to its end, is what the library writes last."""
    found = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    whole = [path for path in found if re.fullmatch(r"checkpoint-\d+", path.name)]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def _is_json(path: Path) -> bool:
    """Not what a process left that was killed as it wrote it."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _publish(model: CrossEncoder, job: TrainingJob, result: TrainingResult, groups: pa.Table, output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    model.save_pretrained(str(output), create_model_card=False)
    (output / "README.md").write_text(card(job, result, groups), encoding="utf-8")
    log = {"job": json.loads(job.to_json()), "result": asdict(result)}
    write_whole(output / LOG, json.dumps(log, indent=2, ensure_ascii=False) + "\n")  # where it is, training is done


_HEADS = {
    "own": "the base model's own ranking head, fine-tuned.",
    "cls": "a fresh linear layer on CLS: the base model is an encoder without a ranking head, so before training the "
    "scores were random.",
    "maxsim": "a fresh late-interaction head (MaxSim over the encoder's own token states, a learned gate on attention "
    "between the two sides, a linear layer on CLS that began at zero): the base model is an encoder without a ranking "
    "head, and before training it ranked about like late interaction.",
}


def card(job: TrainingJob, result: TrainingResult, groups: pa.Table) -> str:
    """The model card, as Markdown with the hub's front matter."""
    base = job.base_name or job.base_model
    splits = {split: groups.filter(pc.equal(groups["split"], split)).num_rows for split in ("train", "dev")}
    metrics = "\n".join(
        f"| {name.removeprefix('dev_')} | {value:.4f} | {result.after[name]:.4f} |"
        for name, value in result.before.items()
    )
    settings = "\n".join(f"| {name} | {value} |" for name, value in job.settings.model_dump().items())
    trusted = ", trust_remote_code=True)  # rerankops must be installed" if result.head == "maxsim" else ")"
    data = "\n".join(f"- `{address}`" for address in job.data) or "- not recorded"
    return f"""---
library_name: sentence-transformers
pipeline_tag: text-ranking
tags: [cross-encoder, reranker, rerankops]
license: {_licence(job.base_model) or "other"}
---
# Reranker fine-tuned from {base}

A cross-encoder: one logit for a (query, passage) pair, larger is more relevant.
Head: {_HEADS[result.head]}

```python
from sentence_transformers import CrossEncoder
model = CrossEncoder("this folder"{trusted}
```

Pairs are read up to {job.settings.max_length} tokens; the passage alone is cut.

## Data
{splits["train"]} train and {splits["dev"]} dev queries, {result.pairs} train pairs, from
{data}

## Quality on the dev queries
The dev queries also chose the checkpoint (step {result.best_step} of {result.steps}), so these figures flatter it; the
gate judges on gold questions.

| | before | after |
|---|---|---|
{metrics}

## Training
{result.seconds} s on {result.device}, {result.precision}.

| setting | value |
|---|---|
{settings}

## Licence
{_licence_notice(job.base_model, base)}
"""


def _licence(base: str) -> str | None:
    readme = Path(base) / "README.md"
    if not readme.is_file():
        return None
    found = re.match(r"---\n.*?^license:\s*(\S+)", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return found[1] if found else None


def _licence_notice(base: str, name: str) -> str:
    licence = _licence(base)
    if licence:
        return f"A derivative of {name}, whose card states the licence `{licence}`; its terms apply to this model too."
    return (
        f"A derivative of {name}, which states no licence where it was loaded from: find it out before passing this on."
    )
