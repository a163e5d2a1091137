"""What commands print: a spinner and tables. Text is text here: nothing that a title, a name or a reason holds is taken
for markup, an emoji's name or an escape sequence; what is to stand out is given as rich.text.Text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rerankops.plain import shown


class TextConsole(Console):
    """A rich console on which strings are plain text, and control characters are written out instead of obeyed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(shown(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))


console = TextConsole(width=max(110, Console().width))

Config = Annotated[
    str | None,
    typer.Option(
        "--config", help="Overlay over base.yaml: a file, or the name of one in configs/.", envvar="RERANKOPS_CONFIG"
    ),
]
SkipBad = Annotated[bool, typer.Option(help="Set rows that cannot be used aside instead of refusing.")]


@contextmanager
def steps() -> Iterator[Any]:
    """A spinner that names the step under way and leaves a line for each one done."""
    import time

    state: dict[str, Any] = {"name": None, "since": 0.0}

    def finish() -> None:
        if state["name"]:
            seconds = f"{time.monotonic() - state['since']:.1f} s"
            console.print(Text.assemble(("✓", "green"), f" {state['name']} ", (seconds, "dim")))

    with console.status("starting") as status:

        def tell(name: str) -> None:
            finish()
            state.update(name=name, since=time.monotonic())
            status.update(Text(name))

        yield tell
        finish()


def show(context: Any, outcome: Any) -> None:
    """The ladder, the decision and where to look, after a retraining."""
    from rerankops.pipeline.reporting import full_ladder

    document = full_ladder(context, outcome.evaluation, outcome.decision)
    print_ladder(document)
    for who, problems in document.get("problems", {}).items():
        print_missing(f"no {'answer' if who == 'reader' else 'verdict'}", problems, document.get("examples", {})[who])
    print_decision(document, outcome.promotion)
    report = context.workspace.place(outcome.promotion["report"], "report.html")
    console.print(f"Report: {report}", soft_wrap=True)


def print_decision(document: dict[str, Any], promotion: dict[str, Any]) -> None:
    """What the gate said, and why."""
    if promotion["promoted"]:
        said = f"promoted {promotion['system']}, version {promotion['version']}"
    elif document["decision"]["cannot_tell"]:
        said = "not promoted: these gold questions cannot tell"
    else:
        said = "not promoted"
    console.print(f"Decision: {said}", style="bold")
    for reason in document["decision"]["reasons"]:
        console.print(f"  · {reason}", soft_wrap=True)


def print_missing(what: str, problems: dict[str, int], examples: dict[str, dict[str, str]]) -> None:
    """What a language model gave no answer to, by kind of reason, and of each kind one reply in full with what was
    wrong with it and what helps. examples: of evaluation.readers.Problems, annotation.teacher."""
    if not problems:
        return
    console.print(f"  · {what}: {', '.join(f'{kind} {n}' for kind, n in problems.items())}")
    for kind, example in examples.items():
        console.print(f"    {kind}: {example['reason']}", soft_wrap=True)
        if example["reply"]:
            console.print("    it sent:")
            for line in example["reply"].splitlines():
                console.print(f"      {line}", soft_wrap=True)


def print_ladder(document: dict[str, Any]) -> None:
    """The ladder as a table: accuracy with its interval and by stratum, two ranking metrics, and the share of questions
    without an answer that the reader refuses, where it can. The report has every metric; these fit a terminal."""
    rows = document["systems"]
    strata = sorted({name for row in rows for name in row["strata"]})
    table = Table(title=f"The ladder, {rows[0]['n']} gold questions", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("system", no_wrap=True)
    shown = strata if len(strata) > 1 else []
    refusing = ["refused"] if any(row["refusals"] for row in rows) else []
    for name in ("accuracy", "95 %", *shown, *refusing, "NDCG@10", "Hit@1", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        interval = row["accuracy_interval"]
        table.add_row(
            row["name"],
            _share(row["accuracy"]),
            f"{_share(interval[0])}–{_share(interval[1])}" if interval else "–",
            *(_share(row["strata"].get(name, {}).get("accuracy")) for name in shown),
            *(_share((row["refusals"] or {}).get("share")) for _ in refusing),
            *(_share(row[name], 3, 1) for name in ("ndcg@10", "hit@1")),
            f"{row['milliseconds_per_query']:.1f}",
        )
    console.print(table)
    print_memory(rows)


def print_memory(rows: list[dict[str, Any]]) -> None:
    """Accuracy where a training query asks a gold question in other words, and where none does."""
    close = [row for row in rows if row.get("close")]
    if not close or not close[0]["close"]["with"]["n"]:
        return
    table = Table(title="How much is memory", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("system", no_wrap=True)
    for side, words in (("with", "asked alike in training"), ("without", "not")):
        table.add_column(f"{words} ({close[0]['close'][side]['n']})", justify="right", no_wrap=True)
    for row in close:
        table.add_row(row["name"], *(_share(row["close"][side]["accuracy"]) for side in ("with", "without")))
    console.print(table)


def _share(value: float | None, digits: int = 1, scale: int = 100) -> str:
    return "–" if value is None else f"{value * scale:.{digits}f}"


def show_stages(context: Any, address: str) -> None:
    """Every stage behind an artefact."""
    from rerankops.pipeline.reporting import stages

    print_stages(stages(context, address))


def print_stages(found: list[dict[str, Any]]) -> None:
    """Every stage with its seconds and counts."""
    table = Table(title="Stages", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("counts")
    for stage in found:
        counts = ", ".join(f"{name.replace('_', ' ')} {value:,g}" for name, value in stage["counts"].items())
        table.add_row(stage["name"], f"{stage['seconds']:.1f}", counts)
    console.print(table)
