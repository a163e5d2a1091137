"""The shape of the settings tree. Values and their explanations stand in configs/base.yaml, and only there."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
SignalName = Literal["reciprocal_rank", "bm25", "cosine", "maxsim", "cross_encoder"]
Backend = Literal["embedded", "elasticsearch"]
Metric = Literal["accuracy", "hit@1", "hit@6", "recall@1", "recall@6", "mrr@10", "ndcg@10", "ndcg_exp@10", "map"]

RENAMED = {
    "promotion.primary_metric": "promotion.metrics, a list, has taken its place",
    "promotion.stratum_margin": "promotion.stratum_alpha and promotion.max_unnoticed_stratum_loss have taken its place",
    "promotion.refusal_margin": "promotion.max_unnoticed_refusal_loss has taken its place",
    "promotion.gold_error_budget": "promotion.alpha is now what one gold set may cost over its life",
}
"""Settings of earlier versions and what to write instead."""


class Section(BaseModel):
    """A frozen part of the tree; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkspaceSettings(Section):
    root: str


class SourceSettings(Section):
    corpus: str | None
    gold: str | None


class ReadingSettings(Section):
    """Of every table that comes from outside."""

    encoding: str
    time_zone: str
    date_order: Literal["month first", "day first"] | None
    skip_bad: bool
    max_megabytes: Annotated[float, Field(gt=0)]
    max_document_megabytes: Annotated[float, Field(gt=0)]
    max_line_characters: Annotated[int, Field(ge=1000)]
    max_json_depth: Annotated[int, Field(ge=4, le=500)]

    @model_validator(mode="after")
    def _names_are_known(self) -> ReadingSettings:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"reading.time_zone is {self.time_zone!r}, no time zone such as Asia/Shanghai") from error
        try:
            codecs.lookup("utf-8" if self.encoding == "auto" else self.encoding)
        except LookupError as error:
            raise ValueError(
                f"reading.encoding is {self.encoding!r}: auto, or a codec such as gb18030, big5"
            ) from error
        return self


class QueryLogFields(Section):
    """What a log calls our fields; a dotted name reaches into nested objects, None: there is no such field."""

    event_id: str
    text: str
    issued_at: str
    source: str | None
    shown_passage_ids: str | None
    clicked_passage_ids: str | None
    feedback: str | None
    user_group: str | None
    preferred_passage_id: str | None
    ranker: str | None
    randomised: str | None


def _written(values: object) -> object:
    """YAML takes 1 and true for a number and a truth value; as a log's values they are what is written there."""
    if isinstance(values, dict):
        return {str(key).lower() if isinstance(key, bool) else str(key): value for key, value in values.items()}
    return values


class QueryLogValues(Section):
    """What a log's own values mean."""

    feedback: Annotated[dict[str, Literal["up", "down", "none"]], BeforeValidator(_written)]
    randomised: Annotated[dict[str, bool], BeforeValidator(_written)]


class UbiSettings(Section):
    """The actions of User Behavior Insights that mean something to us."""

    impressions: tuple[str, ...]
    clicks: tuple[str, ...]


class QueryLogSettings(Section):
    source: Literal["files", "sql", "elasticsearch"]
    location: str | None
    layout: Literal["events", "ubi"]
    fields: QueryLogFields
    values: QueryLogValues
    list_separator: str | None
    ubi: UbiSettings
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


class LlmSettings(Section):
    url: str | None
    model: str | None
    timeout: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0)]
    max_wait: Annotated[float, Field(gt=0)]
    concurrency: Count
    max_tokens: Count
    seed: int
    request_budget: Count | None
    token_budget: Count | None
    structured_output: Literal["auto", "never"]
    extra: dict[str, Any] | None

    @model_validator(mode="after")
    def _extra_replaces_no_question(self) -> LlmSettings:
        taken = sorted({"model", "messages", "stream", "n"} & set(self.extra or {}))
        if taken:
            raise ValueError(f"llm.extra may not have {taken[0]!r}: what is asked and how is set by the steps")
        return self

    def identity(self) -> dict[str, object]:
        """What changes answers; how patiently they are asked for does not."""
        return self.model_dump(include={"model", "max_tokens", "seed", "structured_output", "extra"})


class StratumSettings(Section):
    name: str
    share: Share
    patterns: tuple[str, ...]


class NameSettings(Section):
    """How names and addresses in queries are recognised."""

    recogniser: Literal["off", "rules", "model"]
    model: str | None
    labels: dict[str, Literal["NAME", "ADDRESS"]]
    min_score: Share
    device: str | None

    def identity(self) -> dict[str, object]:
        """What changes what is found."""
        return self.model_dump(exclude={"device"}) if self.recogniser == "model" else {"recogniser": self.recogniser}

    @model_validator(mode="after")
    def _a_model_is_named(self) -> NameSettings:
        if self.recogniser == "model" and not self.model:
            raise ValueError("queries.names.recogniser is model, so queries.names.model must name one")
        return self


class QuerySettings(Section):
    min_characters: Count
    max_characters: Count
    near_duplicate_threshold: Share
    gold_distance_threshold: Share
    synonyms: tuple[tuple[str, ...], ...]
    phone_region: str
    names: NameSettings
    strata: tuple[StratumSettings, ...]

    def likeness(self) -> dict[str, object]:
        """What decides which queries are near a gold question."""
        return self.model_dump(mode="json", include={"gold_distance_threshold", "synonyms"})

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


class SelectionShares(Section):
    random: Share
    uncertainty: Share
    disagreement: Share
    diversity: Share

    @model_validator(mode="after")
    def _all_is_shared_out(self) -> SelectionShares:
        total = self.random + self.uncertainty + self.disagreement + self.diversity
        if abs(total - 1) > 1e-6:
            raise ValueError(f"annotation.selection.shares sum to {total:g}, they must sum to 1")
        return self


class SelectionSettings(Section):
    budget_tasks: Count
    pool_queries: Count
    shares: SelectionShares
    frequency_exponent: Annotated[float, Field(ge=0, le=1)]
    near_duplicate_cosine: Annotated[float, Field(gt=0)]


class AnnotationSettings(Section):
    selection: SelectionSettings
    candidates_per_query: Count
    annotators_per_task: Count
    control_share: Share
    channel: Literal["files", "label_studio"]
    outbox: str
    inbox: str
    outbox_format: Literal["jsonl", "csv", "xlsx"]
    min_control_accuracy: Share
    min_completeness: Share
    min_completeness_left: Share
    min_query_completeness: Share
    max_set_aside_share: Share
    min_median_seconds: Annotated[float, Field(ge=0)]
    positive_share: tuple[Share, Share]
    grade_drift: tuple[Share, Share]

    @model_validator(mode="after")
    def _two_numbers_are_an_interval(self) -> AnnotationSettings:
        for name in ("positive_share", "grade_drift"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"annotation.{name} must be [lowest, highest]; it is [{low:g}, {high:g}]")
        return self

    @model_validator(mode="after")
    def _the_budget_can_be_spent(self) -> AnnotationSettings:
        budget, pool = self.selection.budget_tasks, self.selection.pool_queries
        if budget < self.candidates_per_query:
            raise ValueError(
                f"annotation.selection.budget_tasks is {budget}, below candidates_per_query "
                f"{self.candidates_per_query}: not one query could be asked"
            )
        if pool * self.candidates_per_query < budget:
            raise ValueError(
                f"annotation.selection.pool_queries is {pool}; {self.candidates_per_query} tasks each do not fill "
                f"budget_tasks {budget}"
            )
        return self


class AdjudicationSettings(Section):
    method: Literal["dawid_skene", "majority", "mean"]
    iterations: Count
    prior_answers: Annotated[float, Field(ge=0)]
    careless_kappa: Annotated[float, Field(gt=-1, lt=1)]
    careless_certainty: Annotated[float, Field(ge=0.5, lt=1)]
    min_answers: Count
    contested_confidence: Share
    contested_spread: Count
    contested_entropy: Annotated[float, Field(ge=0, le=2)]
    batch_size: Count
    adjudicators: tuple[str, ...]
    adjudicator_confidence: Annotated[float, Field(gt=0.25, le=1)]


class GoldSettings(Section):
    questions_per_stratum: Count
    annotators_per_question: Annotated[int, Field(ge=2)]
    candidates_per_question: Count
    passage_agreement: Share
    discordance: Annotated[float, Field(gt=0, le=1)]
    power: Annotated[float, Field(ge=0.5, lt=1)]


class ImportSettings(Section):
    confidence: Share
    negative_confidence: Share
    unmatched: Literal["train", "drop"]


class QualitySettings(Section):
    max_empty_share: Share
    max_unusable_share: Share
    max_time_fault_share: Share
    min_leg_share: Share
    max_lost_gold_share: Share
    max_lost_judgment_share: Share


class GroupWeight(Section):
    group: str
    weight: Annotated[float, Field(ge=0)]


class FeedbackSettings(Section):
    window_days: Annotated[float, Field(gt=0)] | None
    max_queries: Count | None
    max_rank: Annotated[int, Field(ge=2)]
    harvest_days: Annotated[float, Field(gt=0)]
    min_rank_impressions: Count
    max_interval_ratio: Annotated[float, Field(gt=1)]
    bootstrap_samples: Annotated[int, Field(ge=20)]
    min_propensity: Annotated[float, Field(gt=0, le=1)]
    min_impressions: Count
    click_rates: tuple[Rate, Rate, Rate, Rate]
    click_concentration: Annotated[float, Field(gt=0)]
    min_anchors: Count
    like_clicks: Annotated[float, Field(ge=0)]
    dislike_skips: Annotated[float, Field(ge=0)]
    correction_clicks: Annotated[float, Field(ge=0)]
    min_reactions: Count
    min_certainty: Annotated[float, Field(ge=0.5, lt=1)]
    group_weights: tuple[GroupWeight, ...]

    @model_validator(mode="after")
    def _rates_rise_and_groups_are_distinct(self) -> FeedbackSettings:
        if list(self.click_rates) != sorted(self.click_rates):
            raise ValueError(
                f"feedback.click_rates must rise from grade 0 to grade 3; they are {list(self.click_rates)}"
            )
        names = [weight.group for weight in self.group_weights]
        if len(set(names)) != len(names):
            raise ValueError(f"feedback.group_weights must name each group once; they name {names}")
        return self


class OriginWeights(Section):
    human: Share
    imported: Share
    feedback: Share
    teacher: Share


class TeacherSettings(Section):
    language: Literal["auto", "zh", "en"]
    batch_size: Annotated[int, Field(ge=1, le=20)]
    max_passage_characters: Count
    sample_size: Count
    min_pairs: Annotated[int, Field(ge=20)]
    min_confidence: Share
    min_kappa: Annotated[float, Field(ge=-1, le=1)]
    max_ungraded_share: Share
    bootstrap_samples: Annotated[int, Field(ge=200)]
    queries: Count
    candidates_per_query: Count
    grade_untrusted: bool
    seed: int

    def identity(self) -> dict[str, object]:
        """What changes the grade of a pair."""
        return self.model_dump(include={"language", "batch_size", "max_passage_characters"})


class LabelStudioSettings(Section):
    url: str | None
    ca_certs: str | None
    airflow_connection: str | None
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
    title_prefix: Annotated[str, Field(pattern=r"^[\w.-]([\w. -]{0,28}[\w.-])?$")]
    language: Literal["zh", "en"]
    deadline_days: Annotated[float, Field(gt=0)]
    open_days: Annotated[float, Field(gt=0)]
    import_size: Count
    page_size: Annotated[int, Field(ge=1, le=1000)]
    request_timeout: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0)]
    max_backoff: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _open_until_the_deadline(self) -> LabelStudioSettings:
        if self.open_days < self.deadline_days:
            raise ValueError(
                f"label_studio.open_days is {self.open_days:g}, below deadline_days {self.deadline_days:g}: a project "
                "would no longer be pulled when its deadline comes"
            )
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
    min_new_labels: Count
    origin_weights: OriginWeights
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


class ReaderModelSettings(Section):
    name: str | None
    max_length: Annotated[int, Field(ge=32)]
    stride: Annotated[int, Field(ge=0)]
    max_answer_tokens: Count
    null_threshold: float | None
    batch_size: Count
    device: str | None

    @model_validator(mode="after")
    def _windows_move_on(self) -> ReaderModelSettings:
        if self.stride >= self.max_length // 2:
            raise ValueError(
                f"reader.model.stride is {self.stride}; it must be below half of max_length {self.max_length}"
            )
        return self

    def identity(self) -> dict[str, object]:
        """What changes answers; how they are computed does not."""
        return self.model_dump(exclude={"batch_size", "device"})


class ReaderSettings(Section):
    kind: Literal["extractive", "model", "llm"]
    max_answer_characters: Count
    rank_decay: Share
    refuse_below: Share | None
    model: ReaderModelSettings
    language: Literal["auto", "zh", "en"]
    votes: Literal[1, 3]
    max_passage_characters: Count
    max_tokens: Count


class JudgeSettings(Section):
    kind: Literal["containment", "llm"]
    model: str | None
    language: Literal["auto", "zh", "en"]
    votes: Literal[1, 3]


class EvaluationSettings(Section):
    bootstrap_samples: Count
    seed: int
    refusal_questions: Annotated[int, Field(ge=0)]
    latency_questions: Count
    close_cosine: Share
    teacher_model: str | None


class PromotionSettings(Section):
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    first_metric_share: Share
    inferiority_margin: Share
    alpha: Share
    min_questions: Count
    min_stratum_questions: Count
    stratum_alpha: Share
    max_unnoticed_stratum_loss: Share
    max_unnoticed_refusal_loss: Share | None
    cheaper_margin: Share
    max_latency_ms: Annotated[float, Field(gt=0)] | None
    max_memory_mb: Annotated[float, Field(gt=0)] | None
    blend_alpha: Share
    max_missing_share: Share
    smallest_effect: Share
    min_level: Share
    reserve_share: Share
    min_judge_agreement: Share
    approval: Literal["none", "human"]
    approval_timeout_hours: Annotated[float, Field(gt=0, le=168)]
    approvers: Annotated[tuple[str, ...], Field(min_length=1)] | None

    @model_validator(mode="after")
    def _each_metric_once(self) -> PromotionSettings:
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"promotion.metrics must name each metric once; they are {list(self.metrics)}")
        return self

    def identity(self) -> dict[str, object]:
        """What changes a decision; who is asked about it afterwards does not."""
        return self.model_dump(mode="json", exclude={"approval", "approval_timeout_hours", "approvers"})


class RegistrySettings(Section):
    tracking_uri: str | None
    model_name: str
    experiment: str
    request_timeout: Count
    transfer_timeout: Count
    retries: Annotated[int, Field(ge=0, le=10)]
    ui_url: str | None


class Settings(Section):
    workspace: WorkspaceSettings
    reading: ReadingSettings
    sources: SourceSettings
    query_log: QueryLogSettings
    elasticsearch: ElasticsearchSettings
    llm: LlmSettings
    queries: QuerySettings
    encoder: EncoderSettings
    retrieval: RetrievalSettings
    annotation: AnnotationSettings
    adjudication: AdjudicationSettings
    label_studio: LabelStudioSettings
    gold: GoldSettings
    imports: ImportSettings
    quality: QualitySettings
    feedback: FeedbackSettings
    teacher: TeacherSettings
    training: TrainingSettings
    scoring: ScoringSettings
    reader: ReaderSettings
    judge: JudgeSettings
    evaluation: EvaluationSettings
    promotion: PromotionSettings
    registry: RegistrySettings
