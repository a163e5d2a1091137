"""Typed settings: `load()` reads configs/base.yaml, one overlay and the environment into one immutable tree."""

from rerankops.config.loading import load, validate
from rerankops.config.settings import (
    AnnotationSettings,
    ElasticsearchSettings,
    EncoderSettings,
    EvaluationSettings,
    PromotionSettings,
    QueryLogFields,
    QueryLogSettings,
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
    "ElasticsearchSettings",
    "EncoderSettings",
    "EvaluationSettings",
    "PromotionSettings",
    "QueryLogFields",
    "QueryLogSettings",
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
    "validate",
]
