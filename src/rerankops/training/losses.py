"""The losses a setting can name, each with the rows it reads. Ours are the two that the library lacks: a binary cross
entropy that takes a weight an example, and an InfoNCE over each query's own negatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers.cross_encoder import losses as library
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from rerankops.errors import SettingsError
from rerankops.training.formats import Format, Label, binary, graded, share


class WeightedBinaryCrossEntropyLoss(nn.Module):  # type: ignore[misc]
    """sum of w · BCE(sigmoid(s), y) over the batch, divided by the sum of w; w is the label's confidence.

    Inputs: (query, passage, weight) columns and a label in [0, 1]; a model with one label.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: list[Any], labels: Tensor, prompt: str | None = None, task: str | None = None) -> Tensor:
        queries, passages, weights = inputs
        scores = _scores(self.model, list(zip(queries, passages, strict=True)), prompt, task)
        weight = torch.as_tensor(weights, dtype=scores.dtype, device=scores.device)
        each = nn.functional.binary_cross_entropy_with_logits(scores, labels.to(scores), reduction="none")
        return (weight * each).sum() / weight.sum().clamp(min=1e-9)

    def get_config_dict(self) -> dict[str, Any]:
        return {}


class GroupInfoNCELoss(nn.Module):  # type: ignore[misc]
    """mean over positives p of w_p · −log( e^s_p / (e^s_p + sum over the group's negatives n of w_n · e^s_n) ).
    (van den Oord, Li and Vinyals, "Representation learning with contrastive predictive coding", 2018; with the
    negatives of the query itself, as in localised contrastive estimation: Gao, Dai and Callan, 2021.)

    The other positives of the query take no part in a positive's denominator. Weights are confidences: an uncertain
    positive pulls less, an uncertain negative counts as less than one.
    Inputs: (query, [passage, …], [weight, …]) columns and a list of labels, 1 for a positive; a model with one label.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: list[Any], labels: list[Tensor], prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        queries, lists, weights = inputs
        pairs = [(query, passage) for query, passages in zip(queries, lists, strict=True) for passage in passages]
        scores = _scores(self.model, pairs, prompt, task)
        total, positives, start = scores.new_zeros(()), 0, 0
        for label, weight_list in zip(labels, weights, strict=True):
            s = scores[start : start + len(label)]
            start += len(label)
            weight = torch.as_tensor(weight_list, dtype=s.dtype, device=s.device)
            relevant = label.to(s.device) > 0.5
            against = torch.logsumexp(s[~relevant] + weight[~relevant].clamp(min=1e-9).log(), dim=0)
            total = total + (weight[relevant] * nn.functional.softplus(against - s[relevant])).sum()
            positives += int(relevant.sum())
        return total / max(1, positives)

    def get_config_dict(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Loss:
    """form: the rows it reads. label: what becomes of a grade. weighted: whether it reads the weights column.
    make: from a model to the module."""

    form: Format
    label: Label
    weighted: bool
    make: Callable[[Any], nn.Module]


def _times(factor: float) -> Label:
    return lambda grade: factor * graded(grade)


LOSSES: dict[str, Loss] = {
    # BCE(sigmoid(s), relevant), confidence-weighted; what most published rerankers were trained with.
    "bce": Loss("pointwise", binary, True, WeightedBinaryCrossEntropyLoss),
    # (sigmoid(s) − grade / 3)²: keeps the distances between grades; also for a teacher's scores.
    "mse": Loss("pointwise", share, False, lambda model: library.MSELoss(model, activation_fn=nn.Sigmoid())),
    # log2(1 + e^−(s_i − s_j)) over pairs of unequal grade (Burges et al., 2005).
    "ranknet": Loss("listwise", graded, False, lambda model: library.RankNetLoss(model, mini_batch_size=-1)),
    # Cross entropy of two softmaxes (Cao et al., 2007). The library takes the softmax of the labels as they are, which
    # would leave one positive of grade 3 among nine a share of 0.7; three times the grade gives it 0.999.
    "listnet": Loss("listwise", _times(3.0), False, lambda model: library.ListNetLoss(model, mini_batch_size=-1)),
    # RankNet's pairs weighted by the NDCG at stake, NDCG-Loss2++ (Wang et al., "The LambdaLoss framework", 2018).
    "lambda": Loss("listwise", graded, False, lambda model: library.LambdaLoss(model, mini_batch_size=-1)),
    # One positive against its query's negatives; see GroupInfoNCELoss.
    "infonce": Loss("listwise", binary, True, GroupInfoNCELoss),
}


def named(name: str) -> Loss:
    """Raises SettingsError for a name that is not in LOSSES."""
    if name not in LOSSES:
        raise SettingsError(f"training.loss is {name!r}; allowed are {', '.join(LOSSES)}")
    return LOSSES[name]


def _scores(model: Any, pairs: list[tuple[str, str]], prompt: str | None, task: str | None) -> Tensor:
    features = batch_to_device(model.preprocess(pairs, prompt=prompt, task=task), model.device)
    scores: Tensor = model(features)["scores"]
    return scores.view(-1).float()
