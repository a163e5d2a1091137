"""Whether the gold questions still are those that a retraining began with. Measured on questions that somebody has
replaced since, nobody is promoted: what was found wrong in them may be what the decision rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from rerankops.errors import InputError, PromotionRefused, SettingsError
from rerankops.pipeline.context import Context, log
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.gold_sets import FROZEN
from rerankops.queries.sources import read_gold
from rerankops.records import GoldQuestion
from rerankops.workspace import digest

if TYPE_CHECKING:
    from rerankops.pipeline.training import Plan


_UNREADABLE = (InputError, SettingsError)
"""A file that is not there, or holds no gold questions."""


def gold_file(context: Context) -> str | None:
    """Digest of the questions in the file that sources.gold names. None when it names none, or a frozen set, whose
    versions never change. Raises InputError or SettingsError when the file cannot be read."""
    source = context.settings.sources.gold
    return None if not source or source.startswith(FROZEN) else _digest(read_gold(source, context.settings.reading))


def gold_file_at_planning(context: Context) -> str | None:
    """`gold_file`, None also when there is no such file: whoever has frozen its questions may have cleared it away."""
    try:
        return gold_file(context)
    except _UNREADABLE as error:
        log.warning("changes of the gold file will not be noticed: %s", error)
        return None


def refuse_changed_gold(planned: Plan) -> None:
    """Raises PromotionRefused when the gold questions in force are not the plan's, or their file was changed since
    the plan was made and is not what the plan's questions were read from either."""
    context = planned.context
    now = context.workspace.ref(GOLD)
    if now != planned.gold:
        raise PromotionRefused(
            f"the gold questions changed under this retraining: it was measured on {planned.gold}, in force is {now}; "
            "run retrain_reranker again"
        )
    if planned.gold_file is None:
        return
    source = context.settings.sources.gold
    how = "restore it and run this step again, or run refresh_corpus_index and then retrain_reranker"
    try:
        found = gold_file(context)
    except _UNREADABLE as error:
        raise PromotionRefused(f"the gold file cannot be read any more ({error}); {how}") from error
    if found not in {planned.gold_file, _digest(context.workspace.read(planned.gold, GoldQuestion))}:
        raise PromotionRefused(f"the gold file {source} changed under this retraining; {how}")


def _digest(questions: pa.Table) -> str:
    return digest(questions.to_pylist())
