"""`python -m rerankops.training --job JOB.json --output DIR`: one training run, to its end or its error.

Exits 0 when DIR holds the model and its training_log.json, 3 when memory ran out, 2 for any other error; the reason is
the last line that begins with `training:`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

from rerankops import lifeline
from rerankops.errors import RerankopsError
from rerankops.training.process import CHECKPOINTS, FAILED, OUT_OF_MEMORY, TrainingJob


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rerankops.training", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="a TrainingJob as JSON")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model; checkpoints go beside it")
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="stop (SIGTERM) as soon as whoever holds standard input is gone"
    )
    arguments = parser.parse_args()
    if arguments.end_with_stdin:
        lifeline.watch(lifeline.end_self)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    job = TrainingJob.from_json(arguments.job.read_text(encoding="utf-8"))
    try:
        from rerankops.training.trainer import train

        train(job, arguments.output, checkpoints=arguments.output.parent / CHECKPOINTS)
    except RerankopsError as error:
        print(f"training: {error}", file=sys.stderr)
        return FAILED
    except (MemoryError, RuntimeError) as error:
        traceback.print_exc()
        if _is_out_of_memory(error):
            print(f"training: {_what_to_do(job)}", file=sys.stderr)
            return OUT_OF_MEMORY
        print(f"training: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", file=sys.stderr)
        return FAILED
    return 0


def _is_out_of_memory(error: BaseException) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def _what_to_do(job: TrainingJob) -> str:
    settings = job.settings
    return (
        f"batches of {settings.batch_size} pairs of up to {settings.max_length} tokens do not fit; halve "
        "training.batch_size or training.max_length, or take a smaller training.base_model"
    )


if __name__ == "__main__":
    sys.exit(main())
