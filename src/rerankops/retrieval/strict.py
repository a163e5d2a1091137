"""Strict loading of models: missing tensors, unknown tensors and tensors with non-finite values are errors.

transformers fills missing tensors with random numbers and drops unknown ones, and reports this only in its log. Three
cases are not damage:

- Weights that are tied to others are stored once; transformers knows them.
- A pooler that a checkpoint lacks altogether, for a bare encoder that is read by its token states: many are published
  like this.
- Heads of other tasks: a checkpoint that was trained as a masked language model includes that head. A name that no
  architecture of the model's kind has is an error.

A fresh head, which needs training, is never inferred from a missing one: the caller declares it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rerankops.errors import ModelUnavailable, NotFinite, RerankopsError
from rerankops.retrieval.models import unavailable

Model = TypeVar("Model")
_ONE_AT_A_TIME = threading.RLock()
_HEADS = (
    "MODEL_MAPPING",
    "MODEL_FOR_PRETRAINING_MAPPING",
    "MODEL_FOR_MASKED_LM_MAPPING",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING",
    "MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING",
)
"""Mappings in transformers from a configuration to the architectures of its kind, by task."""
_ADVICE = "fetch the model again, or name another one"


def load(make: Callable[[], Model], path: str, setting: str, *, fresh_head: bool = False) -> Model:
    """The model that `make` loads from `path`, with all of its tensors checked.

    path: folder or hub name; setting: the key that named it; both are for messages. fresh_head: the head on top of the
    encoder may be missing. Raises ModelUnavailable, NotFinite; out-of-memory errors pass unchanged.
    """
    with explained(path, setting), _reports() as loaded:
        model = make()
        for one, report in loaded:
            _refuse_missing(one, report, path, setting, fresh_head=fresh_head, reads_pooler=_reads_pooler(model))
            _refuse_unknown(one, report, path, setting)
        _refuse_not_finite(model, path, setting)
    return model


@contextmanager
def explained(path: str, setting: str) -> Iterator[None]:
    """Turns the libraries' errors about unreadable files into ModelUnavailable, in one line."""
    import torch

    try:
        yield
    except (RerankopsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # tokenizers raise Exception itself, safetensors an error of their own
        raise unavailable(path, setting, error) from error


@contextmanager
def _reports() -> Iterator[list[tuple[Any, dict[str, Any]]]]:
    """Each model that transformers loads in the block, with its report about tensors: sentence-transformers does not
    pass on `output_loading_info`."""
    from transformers import PreTrainedModel

    found: list[tuple[Any, dict[str, Any]]] = []
    original = PreTrainedModel.__dict__["from_pretrained"]

    def reporting(cls: Any, /, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        model, report = original.__func__(cls, *args, output_loading_info=True, **kwargs)
        found.append((model, report))
        return (model, report) if output_loading_info else model

    with _ONE_AT_A_TIME:
        PreTrainedModel.from_pretrained = classmethod(reporting)
        try:
            yield found
        finally:
            PreTrainedModel.from_pretrained = original


def _refuse_missing(
    model: Any, report: dict[str, Any], path: str, setting: str, *, fresh_head: bool, reads_pooler: bool
) -> None:
    missing = set(report["missing_keys"]) | {name for name, *_ in report["mismatched_keys"]}
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    pooler = {name for name in model.state_dict() if name.startswith(f"{prefix}pooler.")}
    if pooler <= missing and (fresh_head if prefix else not reads_pooler):
        missing -= pooler
    if fresh_head and prefix:
        missing = {name for name in missing if name.startswith(prefix)}
    if missing:
        raise ModelUnavailable(
            f"{setting}: {path} lacks {len(missing)} of the tensors of a {type(model).__name__}, {min(missing)} among "
            f"them, which would be random numbers; {_ADVICE}"
        )


def _refuse_unknown(model: Any, report: dict[str, Any], path: str, setting: str) -> None:
    if not report["unexpected_keys"]:
        return
    prefix = f"{model.base_model_prefix}."
    known = {name.removeprefix(prefix) for name in _names(model.config)}
    unknown = {name for name in report["unexpected_keys"] if name.removeprefix(prefix) not in known}
    if unknown:
        raise ModelUnavailable(
            f"{setting}: {path} has {len(unknown)} tensors that no model of type {model.config.model_type} with its "
            f"config.json has, {min(unknown)} among them; {_ADVICE}"
        )


def _names(config: Any) -> set[str]:
    """Names of all tensors of all architectures of a configuration's kind."""
    import torch
    from transformers.models.auto import modeling_auto

    kinds: set[Any] = set()
    for mapping in _HEADS:
        found = getattr(modeling_auto, mapping).get(type(config), ())
        kinds |= set(found if isinstance(found, (tuple, list)) else [found])
    with torch.device("meta"):
        return {name for kind in kinds for name in kind(config).state_dict()}


def _reads_pooler(model: Any) -> bool:
    """Whether a sentence-transformers model uses the pooler's output."""
    modules = model.modules() if hasattr(model, "modules") else ()
    return any("pooler_output" in str(getattr(module, "modality_config", "")) for module in modules)


def _refuse_not_finite(model: Any, path: str, setting: str) -> None:
    import torch

    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NotFinite(
                f"{setting}: tensor {name} of {path} holds nan or infinite numbers; its weights are broken: {_ADVICE}"
            )
