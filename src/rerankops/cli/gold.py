"""Gold questions by hand: draft, forms, collect, status, freeze, list, show, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from rerankops.cli import set_aside
from rerankops.cli.output import Config, SkipBad, console, steps
from rerankops.files import as_json_lines, write_whole

app = typer.Typer()
gold = typer.Typer(no_args_is_help=True, help="Gold questions: drafted, answered by two people, settled, frozen.")
app.add_typer(gold, name="gold")

Which = Annotated[str, typer.Argument(help="NAME, its newest version, or NAME@VERSION.")]


@gold.command()
def draft(
    name: Annotated[str, typer.Argument(help="A new name; a draft that exists stands.")],
    config: Config = None,
    from_file: Annotated[
        str | None, typer.Option(help="Your own questions: *.txt, one a line, or *.jsonl with text (and stratum).")
    ] = None,
    per_stratum: Annotated[int | None, typer.Option(min=1, help="Questions drawn of each stratum.")] = None,
    since: Annotated[str | None, typer.Option(help="Draw from this window of the log, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="The window ends before this moment.")] = None,
) -> None:
    """Choose questions: drawn by stratum from production queries, or your own; none near gold or judged queries."""
    from rerankops.pipeline import context
    from rerankops.pipeline import gold as work

    here = context.load(config)
    with steps() as tell:
        tell("draft questions")
        address = work.draft_gold(name, file=from_file, per_stratum=per_stratum, since=since, until=until, context=here)
    counts = ", ".join(f"{key.replace('_', ' ')} {n:g}" for key, n in here.workspace.manifest(address).counts.items())
    console.print(f"Draft {name}: {counts}\nNext: rerankops gold forms {name} --annotators anna,ben", soft_wrap=True)


@gold.command()
def forms(
    name: str,
    config: Config = None,
    annotators: Annotated[str | None, typer.Option(help="People, with commas; each question goes to two.")] = None,
    resolver: Annotated[str | None, typer.Option(help="A third person; gets what people disagree on.")] = None,
    to: Annotated[Path, typer.Option(help="Folder for the forms.")] = Path("gold-forms"),
    form: Annotated[Literal["jsonl", "csv", "xlsx"], typer.Option("--format")] = "csv",
) -> None:
    """Write a form for each person: the questions, candidate passages, and room for answers."""
    from rerankops.errors import SettingsError
    from rerankops.pipeline import context, gold_forms

    if (annotators is None) == (resolver is None):
        raise SettingsError("give either --annotators or --resolver")
    here = context.load(config)
    if annotators is not None:
        people = [person.strip() for person in annotators.split(",") if person.strip()]
        for path in gold_forms.write_forms(name, people, to, form=form, context=here):
            console.print(str(path), soft_wrap=True)
        return
    resolution = gold_forms.write_resolution(name, str(resolver), to, form=form, context=here)
    console.print(str(resolution) if resolution else "Nothing to settle.", soft_wrap=True)


@gold.command()
def collect(
    files: list[Path],
    config: Config = None,
    skip_bad: SkipBad = False,
) -> None:
    """Take filled forms in; may be repeated, a later form adds to what its author answered."""
    from rerankops.pipeline import context, gold_forms
    from rerankops.pipeline import gold as work

    here = context.load(config, overrides={"reading": {"skip_bad": skip_bad}} if skip_bad else {})
    drafts = []
    for path in files:
        for found in gold_forms.collect_forms([path], context=here):
            drafts.append(found.draft)
            console.print(
                f"{found.path}: {found.answered} answered by {found.annotator} ({found.role}), {found.changed} new or "
                f"changed, {found.total} in all",
                soft_wrap=True,
            )
            set_aside.tell(here, gold_forms.source_of(found))
    for name in dict.fromkeys(drafts):
        _print_status(work.gold_status(name, context=here))


@gold.command()
def status(name: str, config: Config = None) -> None:
    """Where a draft stands: who still has to answer, where people agree, what waits for a third person."""
    from rerankops.pipeline import context
    from rerankops.pipeline import gold as work

    _print_status(work.gold_status(name, context=context.load(config)))


@gold.command()
def freeze(
    name: Annotated[str, typer.Argument(help="The gold set; its next version is made.")],
    config: Config = None,
    draft: Annotated[str | None, typer.Option(help="Freeze what this draft settled.")] = None,
    from_file: Annotated[str | None, typer.Option(help="Freeze a gold file as it is.")] = None,
    answered_by: Annotated[str, typer.Option(help="Who is behind that file, with commas.")] = "",
    retire: Annotated[
        list[str] | None, typer.Option(help="'ID: reason'; kept, no longer asked. May be repeated.")
    ] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="An id that does not come along; repeatable.")] = None,
    drop_judged: Annotated[
        bool, typer.Option(help="Freeze also what judged queries come near; training leaves those out from now on.")
    ] = False,
) -> None:
    """Freeze the next version: all earlier questions unchanged, and the new ones. Nothing new: nothing happens."""
    from rerankops.errors import SettingsError
    from rerankops.pipeline import context
    from rerankops.pipeline import gold_freezing as work

    reasons = {}
    for one in retire or []:
        question_id, sign, reason = one.partition(":")
        if not sign:
            raise SettingsError(f"--retire is {one!r}, expected 'ID: reason'")
        reasons[question_id.strip()] = reason.strip()
    here = context.load(config)
    done = work.freeze_gold(
        name,
        draft=draft,
        file=from_file,
        answered_by=[person.strip() for person in answered_by.split(",") if person.strip()],
        retire=reasons,
        leave_out=leave_out or [],
        drop_judged=drop_judged,
        context=here,
    )
    changed = f"{done.added} added, {done.retired} retired" if done.added or done.retired else "nothing new, it stands"
    console.print(f"{name}@{done.version}: {changed} ({done.address})", soft_wrap=True)
    if done.withheld:
        console.print(
            f"{done.withheld} judged queries are withheld from training from now on; retrain before comparing."
        )
    _print_reach(work.reach(here, done.address))
    console.print(f"Used once sources.gold is frozen:{name} or frozen:{name}@{done.version}", soft_wrap=True)


@gold.command("list")
def list_sets(config: Config = None) -> None:
    """Gold sets with their versions, and drafts."""
    from rerankops.pipeline import context, gold_sets
    from rerankops.pipeline.gold import DRAFTS

    workspace = context.load(config).workspace
    table = Table(title="Gold sets", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("set", "frozen", "asked", "added", "retired", "address"):
        table.add_column(column, no_wrap=True)
    for ref in workspace.refs(gold_sets.SETS):
        name = ref.split("/")[1]
        for version, address in gold_sets.versions(workspace, name).items():
            found = workspace.manifest(address)
            counts = (f"{found.counts.get(key, 0):g}" for key in ("questions", "added", "retired"))
            table.add_row(f"{name}@{version}", found.created_at[:19], *counts, address)
    console.print(table)
    for ref in workspace.refs(DRAFTS):
        rows = workspace.manifest(workspace.require(ref, "")).rows
        console.print(f"draft {ref.split('/')[1]}: {rows} questions")


@gold.command()
def show(which: Which, config: Config = None) -> None:
    """A version: its questions, who answered, when they came in, and what the set can show."""
    from rerankops.pipeline import context, gold_freezing, gold_sets

    here = context.load(config)
    name, version, address = gold_sets.find(here.workspace, which)
    table = Table(title=f"{name}@{version}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("id", "stratum", "question", "accepted answers", "answered by", "since"):
        table.add_column(column)
    for row in gold_sets.entries(here.workspace, address).iter_rows(named=True):
        people = ", ".join(row["answered_by"]) + (f"; settled by {row['resolved_by']}" if row["resolved_by"] else "")
        answers = "(unanswerable)" if row["unanswerable"] else " | ".join(row["accepted_answers"])
        since = f"@{row['added_version']} {row['added_at']:%Y-%m-%d}"
        if row["retired_version"] is not None:
            since += f", retired @{row['retired_version']}: {row['retired_reason']}"
        table.add_row(row["question_id"], row["stratum"], row["text"], answers, people, since)
    console.print(table)
    _print_reach(gold_freezing.reach(here, address))


@gold.command()
def export(
    which: Which,
    to: Annotated[Path, typer.Argument(help="gold.jsonl, for sources.gold or another workspace.")],
    config: Config = None,
    everything: Annotated[bool, typer.Option("--all", help="Unanswerable questions, too.")] = False,
) -> None:
    """Write a version as JSON lines, retired questions left out."""
    from rerankops.pipeline import context
    from rerankops.pipeline.gold_freezing import export_gold

    rows = export_gold(which, everything=everything, context=context.load(config))
    write_whole(to, as_json_lines(rows))
    console.print(f"{to}: {len(rows)} questions", soft_wrap=True)


def _print_status(found: Any) -> None:
    from rerankops.annotation.gold.consensus import STATES

    table = Table(title=f"Draft {found.draft}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("stratum", *STATES, "same answer", "95 %", "same passages", "alpha"):
        table.add_column(column, justify="left" if column == "stratum" else "right", no_wrap=True)
    states = found.states()
    for one in found.accord:
        counted = states.get(one.stratum) or sum(states.values(), start=type(next(iter(states.values())))())
        table.add_row(
            one.stratum,
            *(str(counted[state]) for state in STATES),
            _share(one.answers),
            f"{_share(one.interval[0])}–{_share(one.interval[1])}" if one.interval else "–",
            _share(one.passages),
            "–" if one.alpha is None else f"{one.alpha:.2f}",
        )
    console.print(table)
    waiting = ", ".join(f"{person} {count}" for person, count in found.outstanding.items() if count)
    if waiting:
        console.print(f"Still to answer: {waiting}")
    if any(one.state == "disputed" for one in found.settled):
        console.print(f"To settle: rerankops gold forms {found.draft} --resolver NAME")


def _print_reach(found: Any) -> None:
    table = Table(title="What this set can show", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("stratum", "questions", "minimum", "noticeable", "of interest", "needed"):
        table.add_column(column, justify="left" if column == "stratum" else "right", no_wrap=True)
    for one in found:
        short = one.questions < one.minimum
        table.add_row(
            one.stratum,
            Text(str(one.questions), "red" if short else ""),
            str(one.minimum),
            "–" if one.noticeable is None else f"{100 * one.noticeable:.1f} points",
            f"{100 * one.difference:.1f} points",
            "–" if one.needed is None else f"{one.needed:,}",
        )
    console.print(table)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
