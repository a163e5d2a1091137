"""What people did or left undone."""

from __future__ import annotations

from datetime import timedelta

from annotation_damages.delivery import ACCEPT, PART, PEOPLE, QUARANTINE, SENT, Case
from annotation_damages.edits import (
    controls,
    copied,
    earlier,
    every,
    guessed,
    leave_out,
    lines,
    person,
    put,
    then,
    turned,
    without,
)

CASES: list[Case] = [
    # how much came back
    Case(
        "three quarters",
        QUARANTINE,
        lambda rows: rows[:150],
        says=("75.8%", "66 tasks", "16 task(s)", "the whole batch"),
    ),
    Case("one of three people", QUARANTINE, lambda rows: rows[::3], says=("33.3%", "3 people each", "66 task(s)")),
    Case("one line", QUARANTINE, lambda rows: rows[:1], says=("0.5% of the annotations asked for",)),
    Case(
        "extra people for half of the tasks",
        QUARANTINE,
        lambda rows: rows[:99] + [{**row, "annotator_id": f"more-{n}"} for n in range(3) for row in rows[:99]],
        says=("50.0% of the annotations",),
    ),
    Case(
        "two of a query's three tasks are missing",
        PART,
        leave_out(lambda row: row["task_id"] in {"task-000", "task-001"}),
        says=("of 1 queries fewer than 50% of the tasks", "后备箱 0 有多大"),
        aside=3,
    ),
    Case(
        "no control came back",
        QUARANTINE,
        control=lambda rows, known: [row for row in rows if known[row["task_id"]] is None],
        settings={"min_completeness": 0.5},
        says=("none of the batch's 6 control tasks came back",),
    ),
    # people
    Case(
        "a careless annotator",
        PART,
        control=controls(lambda grade, row: 3 - grade, "ann-2"),
        says=("annotator 'ann-2' passed 0 of 6 control tasks", "turned round", "graded again"),
        aside=66,
    ),
    Case("an annotator with the key turned round", PART, turned("ann-2"), says=("'ann-2'", "turned round"), aside=66),
    Case(
        "two with the key turned round",
        QUARANTINE,
        turned("ann-1", "ann-3"),
        says=("33.3% of 18", "'ann-1' (0.0% of 6)"),
    ),
    Case(
        "everyone with the key turned round",
        QUARANTINE,
        turned(*PEOPLE),
        says=("turned round (3 for 0) they would pass",),
    ),
    Case(
        "half of the controls by chance, 3 of 6",
        ACCEPT,
        control=controls(lambda grade, row: 3 - grade if int(row["task_id"][5:]) < 63 else grade, "ann-2"),
        says=("'ann-2' passed 3 of 6 control tasks", "too few to tell"),
        aside=0,
    ),
    Case(
        "a hasty annotator",
        PART,
        person("ann-2", lambda n, row: {**row, "lead_seconds": 0.3}),
        says=("annotator 'ann-2' took 0.3 s a task", "at least 1 s"),
        aside=66,
    ),
    Case(
        "a hasty annotator whom nobody timed",
        PART,
        then(
            without("lead_seconds"),
            person("ann-2", lambda n, row: {**row, "annotated_at": (SENT + timedelta(seconds=0.4 * n)).isoformat()}),
        ),
        says=("annotator 'ann-2' took 0.4 s a task",),
        aside=66,
    ),
    Case(
        "an annotator who saves all at one instant",
        PART,
        then(without("lead_seconds"), person("ann-2", lambda n, row: {**row, "annotated_at": SENT.isoformat()})),
        says=("annotator 'ann-2' took 0 s a task",),
        aside=66,
    ),
    Case(
        "a person who guesses",
        PART,
        guessed,
        says=("'ann-2' agrees with other people on 66 tasks no better",),
        aside=66,
    ),
    Case(
        "a grade throughout, 0",
        PART,
        person("ann-2", lambda n, row: {**row, "grade": 0}),
        says=("'ann-2'", "grade 0 to"),
        aside=66,
    ),
    Case(
        "a grade throughout, 2",
        PART,
        person("ann-2", lambda n, row: {**row, "grade": 2}),
        says=("gave grade 2 to 100.0%",),
        aside=66,
    ),
    Case(
        "one grade but for two slips",
        PART,
        person("ann-2", lambda n, row: {**row, "grade": 3 if n in {20, 40} else 1}),
        says=("gave grade 1 to 97.0%",),
        aside=66,
    ),
    Case(
        "a pattern",
        PART,
        person("ann-2", lambda n, row: {**row, "grade": n % 4}),
        says=("repeats the same 4 grades",),
        aside=66,
    ),
    Case(
        "a pattern of five",
        PART,
        person("ann-2", lambda n, row: {**row, "grade": (0, 0, 2, 1, 3)[n % 5]}),
        says=("same 5 grades",),
        aside=66,
    ),
    Case(
        "a copy of another's work",
        PART,
        copied,
        says=("'ann-3' has the same grades at the same instants", "counts once"),
        aside=66,
    ),
    Case(
        "one person under two spellings",
        PART,
        person("ann-3", lambda n, row: {**row, "annotator_id": "ANN-1"}),
        says=("reads like",),
        aside=66,
    ),
    Case(
        "two people set aside",
        QUARANTINE,
        then(person("ann-2", lambda n, row: {**row, "lead_seconds": 0.1}), turned("ann-3")),
        says=("'ann-3' (failed controls, chance agreement)", "'ann-2' (too fast)", "other people"),
    ),
    Case(
        "a forged account",
        PART,
        lines(3, put(doubt="written by another account")),
        says=("whose it is", "written by another account"),
        aside=3,
    ),
    Case(
        "an account that was deleted",
        PART,
        lines(4, put(doubt="the account was deleted", annotator_id=None)),
        says=("deleted",),
        aside=4,
    ),
    Case(
        "all of one person forged",
        PART,
        person("ann-2", lambda n, row: {**row, "doubt": "signed in as ann-1"}),
        says=("signs in",),
        aside=66,
    ),
    # all grades
    Case(
        "nothing but 0", QUARANTINE, every(put(grade=0)), says=("0.0% of the grades are 2 or more", "look at a sample")
    ),
    Case("nothing but 3", QUARANTINE, every(put(grade=3)), says=("100.0% of the grades are 2 or more",)),
    Case(
        "drift from earlier batches",
        QUARANTINE,
        history=earlier(0.02, 0.05, 0.13, 0.80),
        says=("would have to be others", "look at a sample by hand"),
    ),
    Case(
        "the key turned round but for the controls",
        QUARANTINE,
        control=lambda rows, known: [
            {**r, "grade": 3 - r["grade"]} if known[r["task_id"]] is None else r for r in rows
        ],
        history=earlier(0.6, 0.2, 0.12, 0.08),
        says=("would have to be others", "turned round (3 for 0) it is", "correct the key"),
    ),
]
