"""The same groups as pairs, contrasts and lists."""

from __future__ import annotations

import pytest

from rerankops.training.formats import binary, dataset, graded, render, share


def test_pointwise_has_one_row_a_pair(groups):
    rows = render(groups, "pointwise").to_pylist()
    assert len(rows) == 36 * 3
    assert [row["label"] for row in rows[:3]] == [1.0, 0.0, 0.0]
    assert rows[0] == {"query": "what is red", "passage": "title\nit is painted red", "weight": 0.9, "label": 1.0}


def test_pairwise_has_one_row_a_contrast(groups):
    rows = render(groups, "pairwise").to_pylist()
    assert len(rows) == 36 * 2
    assert rows[0]["positive"].endswith("red")
    assert rows[0]["negative"].endswith("blue")
    assert rows[0]["weight"] == pytest.approx(0.81)


def test_listwise_has_one_row_a_query_positives_first(groups):
    rows = render(groups, "listwise", graded).to_pylist()
    assert len(rows) == 36
    assert rows[0]["label"] == [3.0, 0.0, 0.0]


def test_a_grade_becomes_a_label():
    assert [binary(grade) for grade in (None, 0, 1, 2, 3)] == [0, 0, 0, 1, 1]
    assert [share(grade) for grade in (None, 0, 3)] == [0, 0, 1]


def test_a_data_set_is_read_from_parquet(groups, tmp_path):
    table = render(groups, "listwise")
    data = dataset(table, tmp_path, "train")
    assert (tmp_path / "train.parquet").is_file()
    assert data.column_names == ["query", "passages", "weights", "label"]
    assert data[0] == table.slice(0, 1).to_pylist()[0]
