"""Typed settings: `load()` reads configs/base.yaml, one overlay and the environment into one immutable tree."""

from rerankops.config.loading import load
from rerankops.config.settings import (
    AnnotationSettings,
    EncoderSettings,
    EvaluationSettings,
    PromotionSettings,
    QuerySettings,
    ReaderSettings,
    RegistrySettings,
    RetrievalSettings,
    ScoringSettings,
    Settings,
    SourceSettings,
    StratumSettings,
    TrainingSettings,
    WorkspaceSettings,
)

__all__ = [
    "AnnotationSettings",
    "EncoderSettings",
    "EvaluationSettings",
    "PromotionSettings",
    "QuerySettings",
    "ReaderSettings",
    "RegistrySettings",
    "RetrievalSettings",
    "ScoringSettings",
    "Settings",
    "SourceSettings",
    "StratumSettings",
    "TrainingSettings",
    "WorkspaceSettings",
    "load",
]
