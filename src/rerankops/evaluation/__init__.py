"""Evaluation: what each system ranks and answers on the gold questions, how sure the differences are, and the report.

`ladder.ladder` and `ladder.aligned` are imported from their module, whose name they would hide here.
"""

from rerankops.evaluation.end_to_end import outcomes
from rerankops.evaluation.readers import ExtractiveReader, Reader
from rerankops.evaluation.report import render

__all__ = ["ExtractiveReader", "Reader", "outcomes", "render"]
