"""The evaluation report: one self-contained HTML page that a person decides by. No network, no script.

Text of questions and passages stands in HTML, never in a plot, so the reader's browser chooses the fonts (Chinese
included); plots are inline SVG whose colours are CSS variables, so they follow light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops.evaluation.normalise import contains
from rerankops.records import SYSTEMS, PromotionDecision

SHOWN = 20
"""Questions won and questions lost that are listed against each system."""

_ABOUT = {
    "retrieval_only": "the fused order of retrieval, no reranker",
    "tuned_fusion": "fitted blend of the retrieval signals, no cross-encoder",
    "base": "cross-encoder before training",
    "champion": "in production",
    "challenger": "newly trained",
}
_INK, _MUTED, _ACCENT = "#010203", "#040506", "#070809"
_COLOURS = {_INK: "var(--ink)", _MUTED: "var(--muted)", _ACCENT: "var(--accent)"}
_SNIPPET = 260


@dataclass(frozen=True)
class Question:
    """One gold question that two systems answered differently, and the passage that made the difference.

    places: where each of the two systems ranked that passage, None when its reader did not see it.
    """

    text: str
    stratum: str
    accepted: tuple[str, ...]
    answers: tuple[str, str]
    passage_title: str
    snippet: tuple[str, str, str]
    places: tuple[int | None, int | None]


@dataclass(frozen=True)
class Duel:
    """Where `of` and `against` differ; the counts are complete, the lists hold at most SHOWN."""

    of: str
    against: str
    won: tuple[Question, ...]
    lost: tuple[Question, ...]
    won_count: int
    lost_count: int


def render(
    ladder: Mapping[str, Any],
    decision: PromotionDecision,
    outcomes: Mapping[str, pa.Table],
    gold: pa.Table,
    passages: pa.Table,
    *,
    title: str,
    lineage: Mapping[str, str],
) -> str:
    """The page as one string.

    ladder: of `ladder.ladder`; "stages" is optional. outcomes: records.QuestionOutcome a system. gold:
    records.GoldQuestion. passages: records.Passage, at least those that the outcomes show. lineage: name -> address.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    systems = ladder["systems"]
    metric = "accuracy" if any(system["accuracy"] is not None for system in systems) else "recall@1"
    subject = decision.system or next((name for name in reversed(SYSTEMS) if name in outcomes), "")
    rivals = [name for name in ("retrieval_only", "champion") if name in outcomes and name != subject]
    shown = [row for row in ladder["comparisons"] if row["of"] == subject and row["metric"] == metric]
    stages = ladder.get("stages", [])
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "share": _share,
        "points": _points,
        "p": _p,
        "seconds": _seconds,
        "number": _number,
        "bound": _bound,
    }
    template = environment.from_string(
        resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    page = template.render(
        title=title,
        decision=decision,
        systems=systems,
        about=_ABOUT,
        metric=metric,
        subject=subject,
        strata=sorted({stratum for system in systems for stratum in system["strata"]}),
        comparisons=ladder["comparisons"],
        levels=Markup(_levels(systems, metric)),  # noqa: S704 - matplotlib escapes the few names it is given
        steps=Markup(_steps(shown)) if shown else None,  # noqa: S704
        duels=[duel(subject, rival, outcomes, gold, passages) for rival in rivals] if subject else [],
        stages=stages,
        slowest=max((stage["seconds"] for stage in stages), default=0) or 1,
        lineage=dict(lineage),
    )
    return page.lstrip()


def duel(
    of: str, against: str, outcomes: Mapping[str, pa.Table], gold: pa.Table, passages: pa.Table, *, limit: int = SHOWN
) -> Duel:
    """The questions that `of` wins and loses against `against`: by right answers, or by rank 1 where none is known.

    The clearest come first: those whose deciding passage the two systems rank furthest apart.
    """
    first, second = (pl.DataFrame(outcomes[name]) for name in (of, against))
    verdict = "correct" if first["correct"].is_not_null().any() else "recall@1"
    columns = ["question_id", verdict, "answer", "top_passage_ids"]
    both = first.select(columns).join(second.select(columns), on="question_id", suffix="_against")
    both = both.with_columns(pl.col(verdict, f"{verdict}_against").cast(pl.Float64))
    both = both.join(pl.DataFrame(gold), on="question_id", maintain_order="right")
    won = both.filter(pl.col(verdict) > pl.col(f"{verdict}_against")).to_dicts()
    lost = both.filter(pl.col(verdict) < pl.col(f"{verdict}_against")).to_dicts()
    texts = _texts([*won, *lost], passages)
    return Duel(
        of=of,
        against=against,
        won=_clearest([_question(row, texts, winner="of") for row in won], limit),
        lost=_clearest([_question(row, texts, winner="against") for row in lost], limit),
        won_count=len(won),
        lost_count=len(lost),
    )


def _texts(rows: Sequence[Mapping[str, Any]], passages: pa.Table) -> dict[str, tuple[str, str]]:
    wanted = {i for row in rows for i in (*row["top_passage_ids"], *row["top_passage_ids_against"])}
    frame = pl.DataFrame(passages.select(["passage_id", "title", "text"]))
    frame = frame.filter(pl.col("passage_id").is_in(sorted(wanted)))
    return {identifier: (title, text) for identifier, title, text in frame.iter_rows()}


def _question(row: Mapping[str, Any], texts: Mapping[str, tuple[str, str]], *, winner: str) -> Question:
    tops = (row["top_passage_ids"], row["top_passage_ids_against"])
    seen = [identifier for identifier in tops[0 if winner == "of" else 1] if identifier in texts]
    accepted = tuple(row["accepted_answers"])
    relevant = set(row["relevant_passage_ids"])
    deciding = next(
        (i for i in seen if i in relevant),
        next((i for i in seen if contains(texts[i][1], accepted)), seen[0] if seen else None),
    )
    title, text = texts[deciding] if deciding is not None else ("", "")
    first, second = (top.index(deciding) + 1 if deciding in top else None for top in tops)
    return Question(
        text=row["text"],
        stratum=row["stratum"],
        accepted=accepted,
        answers=(row["answer"], row["answer_against"]),
        passage_title=title,
        snippet=_snippet(text, accepted),
        places=(first, second),
    )


def _clearest(questions: list[Question], limit: int) -> tuple[Question, ...]:
    def apart(question: Question) -> int:
        first, second = (99 if place is None else place for place in question.places)
        return -abs(first - second)

    return tuple(sorted(questions, key=apart)[:limit])


def _snippet(text: str, accepted: Sequence[str]) -> tuple[str, str, str]:
    """What stands before, in and after the accepted answer, where it stands literally; else the text's beginning."""
    for answer in accepted:
        start = text.lower().find(answer.lower()) if answer else -1
        if start >= 0:
            end = start + len(answer)
            room = max(0, _SNIPPET - len(answer)) // 2
            before, after = text[max(0, start - room) : start], text[end : end + room]
            return ("…" * (start > room) + before, text[start:end], after + "…" * (end + room < len(text)))
    return (text[:_SNIPPET] + "…" * (len(text) > _SNIPPET), "", "")


# -- plots -------------------------------------------------------------------------------------------------------------


def _levels(systems: Sequence[Mapping[str, Any]], metric: str) -> str:
    """A dot a system with its interval, cheapest on top."""
    rows = [
        (system["name"], system[metric], system["accuracy_interval"] if metric == "accuracy" else None)
        for system in systems
        if system[metric] is not None
    ]
    return _dots(rows, f"{metric}, %")


def _steps(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """A dot a difference with its interval and the line of no difference."""
    rows = [(f"against {row['against']}", row["difference"], row["interval"]) for row in comparisons]
    return _dots(rows, "difference, points", zero=True)


def _dots(rows: Sequence[tuple[str, float, Sequence[float] | None]], label: str, *, zero: bool = False) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": label, "font.size": 9.5, "font.family": "sans-serif"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(5.4, 0.62 + 0.38 * max(1, len(rows))), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        if zero:
            axes.axvline(0, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for place, (_, value, interval) in enumerate(rows):
            if interval is not None:
                axes.plot(
                    [100 * interval[0], 100 * interval[1]], [place, place], color=_ACCENT, linewidth=2.2, alpha=0.55
                )
            axes.plot([100 * value], [place], "o", color=_ACCENT, markersize=6.5)
            told = f"{100 * value:+.1f}" if zero else f"{100 * value:.1f}"
            axes.annotate(told, (100 * value, place), (0, 6), textcoords="offset points", ha="center", color=_INK)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], color=_INK)
        axes.set_ylim(len(rows) - 0.55, -0.75)
        axes.margins(x=0.08)
        axes.set_xlabel(label, color=_MUTED)
        axes.tick_params(axis="x", colors=_MUTED, length=3)
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_MUTED)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for drawn_as, variable in _COLOURS.items():
        svg = svg.replace(drawn_as, variable)
    spoken = "; ".join(f"{name} {100 * value:.1f}" for name, value, _ in rows)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}: {spoken}"', 1)


# -- numbers in words --------------------------------------------------------------------------------------------------


def _bound(words: str) -> str:
    """A number keeps its unit on its line."""
    return re.sub(r"(?<=\d) (?=%|points|ms)", "\u00a0", words)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _seconds(value: float) -> str:
    minutes, seconds = divmod(value, 60)
    return f"{minutes:.0f} min {seconds:02.0f} s" if minutes else f"{seconds:.1f} s"
