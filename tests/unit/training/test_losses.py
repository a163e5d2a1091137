"""Every named loss computes a gradient from the rows it asks for; ours equal their formulas."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from rerankops.config import TrainingSettings
from rerankops.errors import SettingsError
from rerankops.scoring import cross_encoder
from rerankops.training.formats import render
from rerankops.training.losses import LOSSES, GroupInfoNCELoss, WeightedBinaryCrossEntropyLoss, named


class Fixed(torch.nn.Module):
    """A model whose score of a pair is the number that its passage spells."""

    device = torch.device("cpu")

    def preprocess(self, pairs, **_):
        return {"scores": torch.tensor([[float(passage)] for _, passage in pairs])}

    def forward(self, features):
        return features


def test_the_table_has_the_losses_that_the_setting_allows():
    assert set(LOSSES) == set(get_args(TrainingSettings.model_fields["loss"].annotation))
    with pytest.raises(SettingsError, match="allowed are bce, mse"):
        named("hinge")


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_reads_its_rows_and_has_a_gradient(name, tiny_bert, groups):
    loss = named(name)
    model = cross_encoder.load(tiny_bert, max_length=32, device="cpu")
    rows = render(groups.slice(0, 4), loss.form, loss.label)
    columns = [c for c in rows.column_names if c != "label" and (loss.weighted or not c.startswith("weight"))]
    labels = rows["label"].to_pylist()
    tensors = [torch.tensor(label) for label in labels] if loss.form == "listwise" else torch.tensor(labels)
    value = loss.make(model)([rows[column].to_pylist() for column in columns], tensors)
    value.backward()
    assert value.item() > 0
    assert model[0].head.scale.grad.abs() > 0
    assert model[0].head.gate.grad.abs() > 0


def test_weighted_bce_is_a_weighted_mean():
    value = WeightedBinaryCrossEntropyLoss(Fixed())([["q", "q"], ["2", "-1"], [1.0, 0.25]], torch.tensor([1.0, 1.0]))
    softplus = torch.nn.functional.softplus
    assert value.item() == pytest.approx(
        ((softplus(torch.tensor(-2.0)) + 0.25 * softplus(torch.tensor(1.0))) / 1.25).item()
    )


def test_infonce_sets_each_positive_against_the_negatives_alone():
    inputs = [["q", "r"], [["3", "1", "0", "2"], ["1", "1"]], [[1.0, 0.5, 1.0, 1.0], [1.0, 0.5]]]
    labels = [torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0])]
    e = torch.tensor([3.0, 1.0, 0.0, 2.0]).exp()
    against = e[2] + e[3]
    expected = -(e[0] / (e[0] + against)).log() - 0.5 * (e[1] / (e[1] + against)).log() + torch.log(torch.tensor(1.5))
    assert GroupInfoNCELoss(Fixed())(inputs, labels).item() == pytest.approx(expected.item() / 3, rel=1e-5)
