"""Choosing what to label: within a budget, for a stated reason, with a random share that keeps live quality measurable.

Pure: tables in, tables out, nothing random; the same rows in any order give the same choice.
"""

from rerankops.annotation.selection.choosing import POOL, RANDOM, REMAINDER, Choice, Neighbours, choose
from rerankops.annotation.selection.live import LiveQuality, live_quality
from rerankops.annotation.selection.reasons import disagreement, rank_biased_overlap, uncertainty

__all__ = [
    "POOL",
    "RANDOM",
    "REMAINDER",
    "Choice",
    "LiveQuality",
    "Neighbours",
    "choose",
    "disagreement",
    "live_quality",
    "rank_biased_overlap",
    "uncertainty",
]
