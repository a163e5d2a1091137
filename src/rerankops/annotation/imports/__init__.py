"""Existing labels in the shapes they are published in, as judgments: readers, grades, merging. Pure but for reading."""

from rerankops.annotation.imports.merging import merge_labels
from rerankops.annotation.imports.readers import FORMATS, Labels, Rejected, read_labels
from rerankops.queries.grading import RULES, grade

__all__ = ["FORMATS", "RULES", "Labels", "Rejected", "grade", "merge_labels", "read_labels"]
