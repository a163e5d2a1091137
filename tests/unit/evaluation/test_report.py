"""The report as a browser gets it: parsed, complete, and legible."""

from __future__ import annotations

import itertools
import re
from importlib import resources

import pytest
from report_pages import RULES, of_class, page, parsed, words

from rerankops.records import PromotionDecision, Rule


def test_the_page_needs_no_network_and_no_script() -> None:
    text = page()
    assert text.startswith("<!doctype html>")
    assert not re.search(r"https?:|url\(|@import|//[a-z]", text)
    root = parsed(text)
    tags = {element.tag for element in root.iter()}
    assert not tags & {"script", "img", "link", "iframe", "object", "video", "audio", "embed", "form", "base"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not attributes & {"src", "srcset", "action"}
    assert not {name for name in attributes if name.startswith("on")}
    policy = next(meta for meta in root.iter("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.get("content") == "default-src 'none'; style-src 'unsafe-inline'"


def test_links_lead_somewhere_and_ids_are_unique() -> None:
    root = parsed(page())
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    targets = [link.get("href", "") for link in root.iter("a")]
    assert targets
    assert {target.removeprefix("#") for target in targets} <= set(ids)


def test_every_table_has_headers_and_every_plot_words() -> None:
    root = parsed(page())
    for table in root.iter("table"):
        heads = [cell for cell in table.iter("th") if cell.get("scope") == "col"]
        assert heads
        assert all(words(cell) for cell in heads), "a heading may be hidden, not missing"
        for row in table.findall("tbody/tr"):
            if row.get("aria-hidden") != "true":
                assert row.findall("th[@scope='row']")
                assert words(row.findall("th")[0])
                assert len(row) == len(heads)
    drawn = [svg for svg in root.iter("svg") if "x" not in svg.attrib and "preserveaspectratio" not in svg.attrib]
    assert len(drawn) > 10
    for svg in drawn:
        assert svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg.get("aria-label"))
    for figure in root.iter("figure"):
        assert words(next(figure.iter("figcaption")))
    for box in of_class(root, "scroll"):
        assert (box.get("tabindex"), box.get("role")) == ("0", "region")
        assert box.get("aria-label")


def test_headings_do_not_skip_levels() -> None:
    levels = [int(element.tag[1]) for element in parsed(page()).iter() if re.fullmatch(r"h[1-6]", element.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_same_evidence_gives_the_same_page() -> None:
    assert page() == page()


# -- what it tells ---------------------------------------------------------------------------------------------------


def test_the_decision_comes_first_and_in_words() -> None:
    root = parsed(page())
    main = next(root.iter("main"))
    assert words(main[0]) == (
        "✓ Promoted: challenger challenger takes the place of retrieval_only. "
        "challenger: +12.3 points of <b>accuracy</b>, p = 0.012"
    )
    refused = parsed(page(decision=PromotionDecision(False, None, RULES, ("gold: too few",))))
    assert words(next(refused.iter("main"))[0]) == "✗ Not promoted retrieval_only stays in production. gold: too few"
    unsure = parsed(page(decision=PromotionDecision(False, None, RULES, (), cannot_tell=True)))
    assert words(next(unsure.iter("main"))[0]).startswith("? Cannot tell with this gold set retrieval_only stays")
    waiting = parsed(page(awaits_approval=True))
    assert words(next(waiting.iter("main"))[0]).startswith("✓ Passed the gate: challenger challenger would take")


def test_rules_have_threshold_measurement_interval_verdict_and_words_in_their_own_unit() -> None:
    root = parsed(page(decision=PromotionDecision(False, None, RULES, ())))
    tables = of_class(root, "rules")
    assert [words(table.findall("caption")[0]) for table in tables] == ["About the evidence", "About challenger"]
    rows = [[words(cell) for cell in row] for table in tables for row in table.findall("tbody/tr")]
    assert rows[0] == ["gold gold: 4 questions, at least 100 are asked for", "✗ failed", "4", "at least 100"]
    assert rows[1][1:] == ["✓ passed", "< 0.001", "at most 0.01"]
    assert rows[2][1:] == ["✗ not known", "–", "yes"]
    assert rows[3][1:] == ["✓ passed", "–", "–"]
    assert [row[0].split()[0] for row in rows[4:8]] == ["superiority", "stratum", "latency", "memory"]
    assert rows[4][1:] == ["? cannot tell", "", "+12.3 points −25.0 to +50.0", "above 0.0 points"]
    assert rows[5][1:] == ["? passed: cannot tell", "", "+2.0 points −10.0 to +20.0", "above −3.0 points"]
    assert rows[6][1:] == ["✓ passed", "", "12.5 ms", "at most 200 ms"]
    assert rows[7][1:] == ["✓ passed", "", "118 MB", "at most 512 MB"]


def test_decisions_from_before_rules_had_verdicts_read_alike() -> None:
    now = page(decision=PromotionDecision(False, None, RULES[4:6], ()))
    old = tuple(Rule(**{**vars(rule), "verdict": ""}) for rule in RULES[4:6])
    before = page(decision=PromotionDecision(False, None, old, ()))
    assert "passed: cannot tell" in before
    assert now.replace("? cannot tell", "✗ failed").count("✗ failed") == before.count("✗ failed")


def test_a_dearer_system_that_is_not_worth_it_is_no_failure() -> None:
    rule = Rule("challenger: worth more than tuned_fusion", 0.01, 0.001, None, False, "preferred", "failed")
    told = words(parsed(page(decision=PromotionDecision(True, "tuned_fusion", (rule,), ()))))
    assert "· not worth it" in told
    assert "✗ failed" not in told


def test_beside_quality_stands_what_a_system_costs_and_what_each_rung_buys() -> None:
    told = words(parsed(page()))
    assert "66.7 % 10.0 % to 90.0 % 1 without verdict 12.5 ms 15 pairs scored 118 MB" in told
    assert (
        "challenger over retrieval_only ? neither gain nor loss is shown +12.3 −25.0 to +50.0 the same the same" in told
    )


def test_the_time_of_an_answer_is_told_leg_by_leg_and_once_more_without_a_slow_reader() -> None:
    root = parsed(page())
    labels = [svg.get("aria-label", "").replace("\u00a0", " ") for svg in of_class(root, "stack")]
    legs = "BM25 leg 2.00 ms, dense leg 2.00 ms, fusion 2.00 ms, signals 2.00 ms, cross-encoder 2.00 ms, blend 2.00 ms"
    assert labels[1] == f"challenger: {legs}, reader 900 ms"
    assert labels[3] == f"challenger: {legs}"
    assert "cross-encoder" not in labels[0]
    widths = [float(rect.get("width", "").rstrip("%")) for rect in of_class(root, "stack")[3].iter("rect")]
    assert len(set(widths)) == 1, "equal legs, equal widths"
    assert sum(widths) == pytest.approx(99, abs=0.1)


def test_strata_scores_calibration_and_refusals_are_there() -> None:
    told = words(parsed(page()))
    for expected in (
        "accuracy by stratum",
        "NDCG@10 by stratum",
        "0.400 80.0 % 70.0 % 75.0 % 90.0 % 120",
        "expected calibration error 0.031",
        "25 of 40 1 without verdict",
        "64.0 % 50.0 % to 77.0 %",
    ):
        assert expected in told, expected
    labels = [svg.get("aria-label") for svg in parsed(page()).iter("svg")]
    assert "challenger: stated 20.0\u00a0%, observed 25.0\u00a0% of 90" in labels


def test_lineage_settings_stages_and_history_are_there() -> None:
    told = words(parsed(page()))
    for expected in (
        "gold_questions gold_questions/b",
        "training.epochs 3",
        "training.seeds 1, 2",
        "train_cross_encoder 1 min 15 s groups 220, device cpu",
        "3 decisions: 2 promoted, 1 refused. Promotions gained +22.3 points",
        "1 2026-10-01 10:00 ✓ promoted challenger 60.0 % 50.0 % +10.0 +2.0 to +18.0 90 1 0123456789ab",
        "2 2026-10-08 10:00 ✗ refused – – – – – – new gold – –",
        "3 2026-11-21 19:33 ✓ promoted challenger 66.7 % 66.7 % +12.3",
    ):
        assert expected in told, expected


def test_the_first_decision_has_no_history() -> None:
    assert "This is the first decision, so there is no history yet." in page(history=[])


# -- how it looks ----------------------------------------------------------------------------------------------------


def colours(mode: str) -> dict[str, str]:
    style = resources.files("rerankops.evaluation.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    block = light if mode == "light" else dark.split("* {", 1)[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def contrast(first: str, second: str) -> float:
    """WCAG 2.2's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(mode: str) -> None:
    found = colours(mode)
    legs = [f"leg{number}" for number in range(1, 8)]
    text = [
        (ink, ground) for ink in ("ink", "muted", "accent", "good", "bad", "unsure") for ground in ("paper", "panel")
    ]
    text += [("ink", "mark"), *(("ink", f"{mood}-soft") for mood in ("good", "bad", "unsure"))]
    text += [("paper", leg) for leg in legs]
    poor = {pair: round(ratio, 2) for pair in text if (ratio := contrast(found[pair[0]], found[pair[1]])) < 4.5}
    assert not poor
    drawn = [(shape, "paper") for shape in ("accent", "good", "bad", "unsure", "rule", *legs)]
    poor = {pair: round(ratio, 2) for pair in drawn if (ratio := contrast(found[pair[0]], found[pair[1]])) < 3}
    assert not poor
