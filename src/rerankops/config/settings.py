"""The shape of the settings tree. Values and their explanations stand in configs/base.yaml, and only there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
SignalName = Literal["reciprocal_rank", "bm25", "cosine", "maxsim", "cross_encoder"]
Backend = Literal["embedded", "elasticsearch"]
Metric = Literal["accuracy", "recall@1", "mrr@10", "ndcg@10"]


class Section(BaseModel):
    """A frozen part of the tree; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkspaceSettings(Section):
    root: str


class SourceSettings(Section):
    corpus: str | None
    gold: str | None


class QueryLogFields(Section):
    """What a log calls our fields; a dotted name reaches into nested objects, None: there is no such field."""

    event_id: str
    text: str
    issued_at: str
    source: str | None
    shown_passage_ids: str | None
    clicked_passage_ids: str | None
    feedback: str | None


class QueryLogSettings(Section):
    source: Literal["files", "sql", "elasticsearch"]
    location: str | None
    fields: QueryLogFields
    lateness_hours: Annotated[float, Field(ge=0)]
    page_size: Count
    slices: Count


class ElasticsearchSettings(Section):
    hosts: tuple[str, ...]
    ca_certs: str | None
    airflow_connection: str | None
    request_timeout: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0)]
    max_backoff: Annotated[float, Field(gt=0)]
    alias: str
    shards: Count
    replicas: Annotated[int, Field(ge=0)]
    keep_indexes: Count
    bulk_megabytes: Annotated[float, Field(gt=0, le=100)]
    bulk_concurrency: Count
    search_batch: Count
    search_concurrency: Count


class StratumSettings(Section):
    name: str
    share: Share
    patterns: tuple[str, ...]


class QuerySettings(Section):
    min_characters: Count
    max_characters: Count
    near_duplicate_threshold: Share
    gold_distance_threshold: Share
    sample_size: Count
    phone_region: str
    strata: tuple[StratumSettings, ...]

    @model_validator(mode="after")
    def _strata_are_a_partition(self) -> QuerySettings:
        names = [stratum.name for stratum in self.strata]
        if len(set(names)) != len(names):
            raise ValueError(f"queries.strata must have distinct names; they are {names}")
        if self.min_characters > self.max_characters:
            raise ValueError(
                f"queries.min_characters is {self.min_characters}, above max_characters {self.max_characters}"
            )
        total = sum(stratum.share for stratum in self.strata)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of queries.strata sum to {total:g}, they must sum to 1")
        return self


class EncoderSettings(Section):
    model: str | None
    query_prompt: str
    passage_prompt: str
    max_length: Count
    batch_size: Count
    device: str | None
    shard_passages: Count

    def identity(self) -> dict[str, object]:
        """What changes vectors; how they are computed does not."""
        return self.model_dump(exclude={"batch_size", "device", "shard_passages"})


class RetrievalSettings(Section):
    backend: Backend
    bm25_k: Count
    dense_k: Count
    fusion: Literal["reciprocal_rank", "weighted"]
    rrf_k: Count
    bm25_weight: Share
    bm25_k1: Annotated[float, Field(ge=0)]
    bm25_b: Share
    title_weight: Annotated[int, Field(ge=0)]
    analyzer: str
    hnsw_m: Count
    hnsw_ef_construction: Count
    hnsw_ef_search: Count
    vector_index: Literal["hnsw", "int8_hnsw", "bbq_hnsw"]
    rescore_oversample: Annotated[float, Field(ge=1, lt=10)] | None
    min_recall: Share
    recall_sample: Count


class AnnotationSettings(Section):
    candidates_per_query: Count
    annotators_per_task: Count
    control_share: Share
    outbox: str
    inbox: str
    min_control_accuracy: Share
    min_completeness: Share
    positive_share: tuple[Share, Share]
    dawid_skene_iterations: Count

    @model_validator(mode="after")
    def _positive_share_is_an_interval(self) -> AnnotationSettings:
        low, high = self.positive_share
        if low > high:
            raise ValueError(f"annotation.positive_share must be [lowest, highest]; it is [{low:g}, {high:g}]")
        return self


class TrainingSettings(Section):
    base_model: str | None
    head: Literal["auto", "cls", "maxsim"]
    max_length: Count
    epochs: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_ratio: Share
    weight_decay: Annotated[float, Field(ge=0)]
    loss: Literal["bce", "mse", "ranknet", "listnet", "lambda", "infonce"]
    mixed_precision: Literal["auto", "fp32", "fp16", "bf16"]
    evaluation_steps: Count
    seed: int
    device: str | None
    negatives_per_positive: Count
    hard_negative_depth: Count
    false_negative_margin: Share
    dev_share: Annotated[float, Field(gt=0, lt=1)]
    min_groups: Count
    shuffle_labels_seed: int | None


class ScoringSettings(Section):
    signals: tuple[SignalName, ...]
    batch_size: Count
    blend_l2: Annotated[float, Field(ge=0)]
    top_k: Count
    cross_encoder_depth: Count

    @model_validator(mode="after")
    def _signals_are_distinct(self) -> ScoringSettings:
        if not self.signals or len(set(self.signals)) != len(self.signals):
            raise ValueError(f"scoring.signals must name at least one signal, each once; it is {list(self.signals)}")
        if "cross_encoder" not in self.signals:
            raise ValueError("scoring.signals must name cross_encoder; tuned fusion, without it, is compared anyway")
        return self


class ReaderSettings(Section):
    kind: Literal["extractive"]
    max_answer_characters: Count
    rank_decay: Share


class EvaluationSettings(Section):
    bootstrap_samples: Count
    seed: int


class PromotionSettings(Section):
    primary_metric: Metric
    alpha: Share
    min_questions: Count
    min_stratum_questions: Count
    stratum_margin: Share
    cheaper_margin: Share
    max_latency_ms: Annotated[float, Field(gt=0)] | None
    blend_alpha: Share
    max_missing_share: Share


class RegistrySettings(Section):
    tracking_uri: str | None
    model_name: str
    experiment: str


class Settings(Section):
    workspace: WorkspaceSettings
    sources: SourceSettings
    query_log: QueryLogSettings
    elasticsearch: ElasticsearchSettings
    queries: QuerySettings
    encoder: EncoderSettings
    retrieval: RetrievalSettings
    annotation: AnnotationSettings
    training: TrainingSettings
    scoring: ScoringSettings
    reader: ReaderSettings
    evaluation: EvaluationSettings
    promotion: PromotionSettings
    registry: RegistrySettings
