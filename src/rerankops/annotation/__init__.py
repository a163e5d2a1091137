"""Annotations: batches out to people, deliveries back, validation or quarantine, agreement, adjudication.

Great Expectations, crowd-kit, scikit-learn and pandas are imported only by the functions that need them.
"""

from rerankops.annotation.adjudication import Adjudication, NoAnnotations, adjudicate, merge
from rerankops.annotation.agreement import Agreement, agreement, krippendorff_alpha, weighted_kappa
from rerankops.annotation.answers import Answers, gather
from rerankops.annotation.batches import Control, make_batch, sure_controls
from rerankops.annotation.channel import Channel, Delivery, FileChannel, Unreadable, read
from rerankops.annotation.expectations import Finding, Validation, validate

__all__ = [
    "Adjudication",
    "Agreement",
    "Answers",
    "Channel",
    "Control",
    "Delivery",
    "FileChannel",
    "Finding",
    "NoAnnotations",
    "Unreadable",
    "Validation",
    "adjudicate",
    "agreement",
    "gather",
    "krippendorff_alpha",
    "make_batch",
    "merge",
    "read",
    "sure_controls",
    "validate",
    "weighted_kappa",
]
