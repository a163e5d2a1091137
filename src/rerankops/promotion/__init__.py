"""Promotion: a pure gate that decides on evidence, and the MLflow registry that remembers and serves the decision."""

from rerankops.promotion.gate import Evidence, decide
from rerankops.promotion.registry import Registry, Version

__all__ = ["Evidence", "Registry", "Version", "decide"]
