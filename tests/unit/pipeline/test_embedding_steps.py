"""plan_embedding, embed_shard and join_vectors: what is embedded when a corpus changes, and what comes out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hashed_encoder import MODEL, encoded

from rerankops import config
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import embed_corpus, embed_shard, join_vectors, plan_embedding
from rerankops.records import Passage
from rerankops.retrieval.encoder import EncodedTexts
from rerankops.workspace import Address, Workspace

Open = Callable[..., Context]
FIRST = ["胎压 2.3bar", "机油 0W-20", "后备箱 520L", "机油 0W-20", "ESP"]


@pytest.fixture
def opened(tmp_path: Path, read: list[str]) -> Open:
    """A context on a workspace of that name; encoder settings by name."""

    def opened(name: str = "workspace", **encoder: object) -> Context:
        settings = config.load(environ={}, overrides={"encoder": {"model": MODEL, "shard_passages": 2, **encoder}})
        return Context(settings, Workspace(tmp_path / name))

    return opened


def corpus(here: Context, texts: Sequence[str]) -> Address:
    rows = ({"passage_id": f"p{n}", "title": "", "text": text, "metadata": []} for n, text in enumerate(texts))
    return here.workspace.publish(Passage, Passage.table(rows), step="load_corpus")


def files(here: Context, address: Address) -> Mapping[str, bytes]:
    with here.workspace.local_folder(address) as folder:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


def test_each_text_is_embedded_once_in_shards_of_the_size_set(opened: Open, read: list[str]) -> None:
    here = opened()
    passages = corpus(here, FIRST)
    planned = plan_embedding(passages, context=here)
    assert [shard["shard"] for shard in planned] == [0, 1]
    shards = [embed_shard(**shard, context=here) for shard in planned]
    assert read == ["胎压 2.3bar", "机油 0W-20", "后备箱 520L", "ESP"]
    made = join_vectors(passages, shards, context=here)
    with here.workspace.local_folder(made) as folder:
        vectors = EncodedTexts.load(folder)
        assert (vectors.vectors == encoded(FIRST).vectors).all()
        assert (vectors.tokens == encoded(FIRST).tokens).all()
    counts = here.workspace.manifest(made).counts
    assert counts == {"passages": 5, "embedded": 4, "tokens": sum(map(len, FIRST))}
    assert here.workspace.manifest(made).inputs == (passages,)


@pytest.mark.parametrize(
    ("now", "embedded"),
    [
        (FIRST, []),
        (FIRST[::-1], []),
        (FIRST[1:3], []),
        ([*FIRST, "天窗", "座椅", "天窗"], ["天窗", "座椅"]),
        ([FIRST[0], "机油 5W-30", *FIRST[2:]], ["机油 5W-30"]),
    ],
    ids=["unchanged", "reordered", "removed", "added", "changed"],
)
def test_a_changed_corpus_costs_its_changes_and_gives_what_embedding_it_anew_gives(
    opened: Open, read: list[str], now: list[str], embedded: list[str]
) -> None:
    here, elsewhere = opened(), opened("anew", shard_passages=100)
    embed_corpus(corpus(here, FIRST), context=here)
    read.clear()
    made = embed_corpus(corpus(here, now), context=here)
    assert read == embedded
    anew = embed_corpus(corpus(elsewhere, now), context=elsewhere)
    assert (made, files(here, made)) == (anew, files(elsewhere, anew))


def test_a_third_corpus_is_made_from_the_second(opened: Open, read: list[str]) -> None:
    here = opened()
    for texts in (FIRST, ["天窗"], ["天窗", *FIRST[:1]]):
        read.clear()
        embed_corpus(corpus(here, texts), context=here)
    assert read == FIRST[:1]


def test_a_step_that_is_repeated_embeds_nothing(opened: Open, read: list[str]) -> None:
    here = opened()
    passages = corpus(here, FIRST)
    planned = plan_embedding(passages, context=here)
    shards = [embed_shard(**shard, context=here) for shard in planned]
    read.clear()
    assert plan_embedding(passages, context=here) == planned
    assert [embed_shard(**shard, context=here) for shard in planned] == shards
    made = join_vectors(passages, shards, context=here)
    assert join_vectors(passages, shards, context=here) == made
    assert plan_embedding(passages, context=here) == []
    assert embed_corpus(passages, context=here) == made
    assert read == []


def test_another_encoder_embeds_everything_and_the_first_ones_vectors_stay_known(opened: Open, read: list[str]) -> None:
    here, other = opened(), opened(passage_prompt="passage: ")
    passages = corpus(here, FIRST)
    first = embed_corpus(passages, context=here)
    read.clear()
    assert embed_corpus(passages, context=other) != first
    assert len(read) == 4
    assert all(text.startswith("passage: ") for text in read)
    read.clear()
    embed_corpus(corpus(here, FIRST[:2]), context=here)
    assert read == []


def test_a_plan_keeps_its_shards_when_their_size_is_set_anew_meanwhile(opened: Open, read: list[str]) -> None:
    here, later = opened(), opened(shard_passages=3)
    passages = corpus(here, FIRST)
    planned = plan_embedding(passages, context=here)
    shards = [embed_shard(**planned[0], context=here), embed_shard(**planned[1], context=later)]
    assert len(read) == 4
    made = join_vectors(passages, shards, context=later)
    assert here.workspace.manifest(made).counts["embedded"] == 4
    assert len(plan_embedding(corpus(here, ["a", "b", "c"]), context=later)) == 1


def test_vectors_that_were_deleted_are_made_again(opened: Open, read: list[str]) -> None:
    """It is what the message on damaged ones advises."""
    here = opened()
    made = embed_corpus(corpus(here, FIRST), context=here)
    shutil.rmtree(Path(here.workspace.root.path) / "objects" / made)
    now = [*FIRST, "天窗"]
    embed_corpus(corpus(here, now), context=here)
    assert embed_corpus(corpus(here, FIRST), context=here) == made
    assert read.count("天窗") == 1
