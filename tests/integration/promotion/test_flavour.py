"""A ranker as an MLflow model: it loads in three ways, and scores what it was gated on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import yaml
from registered_rankers import with_cross_encoder
from sentence_transformers import CrossEncoder

from rerankops.errors import ArtefactDamaged, InputError
from rerankops.promotion import flavour
from rerankops.records import Signal
from rerankops.scoring.cross_encoder import CrossEncoderScorer
from rerankops.scoring.ranker import Ranker

ROWS = pd.DataFrame(
    {
        "query": ["trunk volume"] * 4 + ["tyre pressure"] * 3,
        "passage": ["450 litres", "the trunk", "2 3 bar", "9 9", "2 3 bar", "the tyre", "450"],
        "bm25": [0.1, 0.9, -0.3, -2.0, 1.2, 0.2, -0.4],
        "rank": [3, 1, 2, 4, 1, 2, 3],
    },
    index=[7, 3, 11, 2, 5, 1, 0],
)


@pytest.fixture(scope="module")
def saved(cascade: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "cascade"
    flavour.save(folder, cascade, metadata={"rerankops.key": "decisions/1"})
    return folder


def logits(ranker: Path) -> np.ndarray:
    loaded = Ranker.load(ranker)
    scorer = CrossEncoderScorer(str(loaded.cross_encoder), max_length=loaded.max_length, batch_size=32)
    return scorer.logits(list(ROWS[["query", "passage"]].itertuples(index=False, name=None)))


def test_with_signals_the_score_is_the_one_that_was_gated(saved: Path, cascade: Path) -> None:
    found = mlflow.pyfunc.load_model(str(saved)).predict(ROWS)
    ranker, all_logits = Ranker.load(cascade), logits(cascade)
    signals = pl.DataFrame(ROWS.reset_index(drop=True)).select(
        query_id="query",
        passage_id=pl.Series([f"p{row}" for row in range(7)]),
        rank=pl.col("rank").cast(pl.Int32),
        reciprocal_rank=pl.lit(0.0),
        bm25="bm25",
        cosine=pl.lit(0.0),
        maxsim=pl.lit(0.0),
        cross_encoder=pl.Series(all_logits.astype(np.float64)),
    )
    table = Signal.conform(signals.to_arrow())
    assert ranker.shortlist(table).tolist() == [True, True, False, False, True, True, False]
    expected = pl.DataFrame(ranker.rank(table)).sort("passage_id")
    assert found.index.tolist() == ROWS.index.tolist()
    assert found["rank"].tolist() == expected["rank"].to_list()
    assert found["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)


def test_without_signals_it_is_the_bare_logit(saved: Path, cascade: Path) -> None:
    found = mlflow.pyfunc.load_model(str(saved)).predict(ROWS[["query", "passage"]])
    expected = logits(cascade)
    assert found["score"].to_numpy() == pytest.approx(expected, abs=1e-5)
    order = pd.Series(expected, index=ROWS.index).groupby(ROWS["query"]).rank(ascending=False)
    assert found["rank"].tolist() == order.astype(int).tolist()


def test_without_ranks_ties_go_to_the_row_that_comes_first(ranker: Path) -> None:
    rows = pl.DataFrame(
        {"query": ["q"] * 3, "passage": ["a", "b", "c"], "bm25": [1.0, 2.0, 1.0], "cosine": [1.0, 0.0, 1.0]}
    )
    found = flavour.rank(Ranker.load(ranker), rows, None)
    assert found["score"].to_list() == [2.0, 2.0, 2.0]
    assert found["rank"].to_list() == [1, 2, 3]
    ranked = rows.with_columns(rank=pl.Series([3, 1, 2]))
    assert flavour.rank(Ranker.load(ranker), ranked, None)["rank"].to_list() == [3, 1, 2]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"query": ["q"]}, "column 'passage' is missing"),
        ({"query": ["q"], "passage": ["p"]}, "has no cross-encoder, so it needs the signals bm25, cosine"),
        ({"query": ["q"], "passage": ["p"], "bm25": [1.0]}, "signal 'cosine' is missing"),
        ({"query": ["q"], "passage": ["p"], "bm25": [1.0], "cosine": [None]}, "signal 'cosine' is missing"),
        ({"query": ["q", "q"], "passage": ["p", "r"], "bm25": [1.0, None], "cosine": [1.0, 1.0]}, "signals"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(ranker: Path, columns: dict[str, list], words: str) -> None:
    with pytest.raises(InputError, match=words):
        flavour.rank(Ranker.load(ranker), pl.DataFrame(columns), None)


def test_an_empty_table_gives_an_empty_one(saved: Path) -> None:
    found = mlflow.pyfunc.load_model(str(saved)).predict(ROWS.head(0))
    assert found.empty
    assert list(found.columns) == ["score", "rank"]


def test_the_cross_encoder_in_it_is_one_of_sentence_transformers(saved: Path, cascade: Path) -> None:
    model = CrossEncoder(str(saved / flavour.RANKER / "cross_encoder"), device="cpu")
    pairs = list(ROWS[["query", "passage"]].itertuples(index=False, name=None))
    theirs = model.predict(pairs, activation_fn=torch.nn.Identity())
    assert theirs == pytest.approx(logits(cascade), abs=1e-4)
    assert Ranker.load(saved / flavour.RANKER).depth == 2


def test_signature_and_example_fit_the_model(saved: Path) -> None:
    model = mlflow.pyfunc.load_model(str(saved))
    assert model.metadata.get_input_schema().required_input_names() == ["query", "passage"]
    assert model.metadata.get_output_schema().input_names() == ["score", "rank"]
    example = model.input_example
    assert example["query"].tolist() == ["后备箱容积是多少"] * 2
    assert len(model.predict(example)) == 2
    with pytest.raises(mlflow.exceptions.MlflowException, match="passage"):
        model.predict(ROWS[["query"]])


@pytest.mark.parametrize("kind", ["fusion", "logit"])
def test_every_kind_of_ranker_predicts_its_own_example(kind: str, ranker: Path, tmp_path: Path) -> None:
    source = ranker if kind == "fusion" else with_cross_encoder(tmp_path / "ranker", cascade=False)
    flavour.save(tmp_path / "model", source, metadata={})
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert sorted(model.predict(model.input_example)["rank"]) == [1, 2]
    about = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    assert about["metadata"]["rerankops.encoder"] == {"fusion": "m", "logit": "none"}[kind]


def test_the_model_is_code_and_safetensors_and_says_what_it_needs(saved: Path) -> None:
    about = yaml.safe_load((saved / "MLmodel").read_text())
    function = about["flavors"]["python_function"]
    assert function["model_code_path"].endswith("served.py")
    assert "python_model" not in function
    known = {"rerankops.key": "decisions/1", "rerankops.files": "files.json"}
    assert about["metadata"] == known | {"rerankops.encoder": "none"}, "it blends bm25 alone"
    requirements = (saved / "requirements.txt").read_text()
    assert "rerankops==" in requirements
    assert "sentence-transformers==" in requirements
    assert not [path for path in saved.rglob("*") if path.suffix in {".pkl", ".bin", ".pt", ".pickle"}]


def test_a_manifest_beside_the_ranker_is_left_out_and_anything_else_counts(cascade: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(cascade, copy)
    (copy / "manifest.json").write_text(json.dumps({"address": "rankers/1"}))
    assert flavour.digest(copy) == flavour.digest(cascade)
    (copy / "note").write_text("something")
    assert flavour.digest(copy) != flavour.digest(cascade)


def test_the_same_ranker_is_the_same_version_whenever_and_wherever_it_is_saved(
    saved: Path, cascade: Path, tmp_path: Path
) -> None:
    shutil.copytree(cascade, tmp_path / "elsewhere" / "cascade")
    flavour.save(tmp_path / "again", tmp_path / "elsewhere" / "cascade", metadata={"rerankops.key": "decisions/1"})
    names = {path.relative_to(saved) for path in saved.rglob("*") if path.is_file()}
    names = {name for name in names if "__pycache__" not in name.parts}
    assert all((saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    assert str(cascade.parent) not in (saved / "MLmodel").read_text()


@pytest.mark.parametrize("name", ["served.py", "requirements.txt", "artifacts/ranker/ranker.json", "files.json"])
def test_mlflow_loads_no_version_of_which_a_file_changed(saved: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    mlflow.pyfunc.load_model(str(copy))
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    with pytest.raises(ArtefactDamaged, match=r"the files are not those|is not the list that was registered"):
        mlflow.pyfunc.load_model(str(copy))


def test_a_version_of_before_there_were_lists_is_loaded(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    (copy / "files.json").unlink()
    with pytest.raises(ArtefactDamaged, match=r"files\.json is not the list"):
        mlflow.pyfunc.load_model(str(copy))
    about = yaml.safe_load((copy / "MLmodel").read_text())
    del about["metadata"]["rerankops.files"]
    (copy / "MLmodel").write_text(yaml.safe_dump(about))
    mlflow.pyfunc.load_model(str(copy))
