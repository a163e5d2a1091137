"""What an annotator sees: the labelling interface, the task's data, the guidelines.

The query stands beside the passage, whose title is above it; the query's terms are marked in both. Marking is done
here, once: the data hold the texts as they are and, beside them, the same texts as HTML in which every character of
them is escaped and only our own <mark> is markup. Label Studio shows a HyperText's value as HTML, all else as text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

from rerankops.annotation.guidelines import GUIDELINES, Language
from rerankops.retrieval.analysis import terms

GRADE, PASSAGE = "grade", "passage"
"""Names of the choice and of what it is about, in the interface and in each annotation's result."""

_WORDS: dict[Language, dict[str, str]] = {
    "zh": {
        "query": "问题",
        "passage": "段落",
        "ask": "只凭这个段落，能在多大程度上回答这个问题？",
        "marked": "标黄的是问题里的词，只为方便查找；打分要看意思。",
    },
    "en": {
        "query": "Query",
        "passage": "Passage",
        "ask": "How far does this passage alone answer the query?",
        "marked": "Words of the query are marked to help you find them; grade by what the passage says.",
    },
}
_STYLE = """
.rerankops-sides { display: flex; gap: 24px; align-items: flex-start; flex-wrap: wrap }
.rerankops-query { flex: 1 1 220px; max-width: 340px; position: sticky; top: 0 }
.rerankops-passage { flex: 3 1 420px; min-width: 0 }
.rerankops-ask { border-top: 1px solid rgba(128, 128, 128, .4); margin-top: 16px; padding-top: 8px }
"""
_MARK = '<mark style="background:#ffe58f;color:#1f1f1f;padding:0 1px">'
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:\.\d+)?")


def labelling_interface(language: Language) -> str:
    """The project's label_config."""
    words, guidelines = _WORDS[language], GUIDELINES[language]
    choices = "".join(
        f"<Choice alias={quoteattr(str(meaning.grade))} value={quoteattr(f'{meaning.grade} {meaning.name}')} "
        f"hint={quoteattr(meaning.meaning)} hotkey={quoteattr(str(meaning.grade))}/>"
        for meaning in guidelines.grades
    )
    return (
        f"<View><Style>{_STYLE}</Style>"
        '<View className="rerankops-sides">'
        f'<View className="rerankops-query"><Header value={quoteattr(words["query"])} size="5"/>'
        '<HyperText name="query" value="$query_html" valueType="text" inline="true"/></View>'
        f'<View className="rerankops-passage"><Header value={quoteattr(words["passage"])} size="5"/>'
        f'<HyperText name="{PASSAGE}" value="$passage_html" valueType="text" inline="true"/></View>'
        "</View>"
        f'<View className="rerankops-ask"><Header value={quoteattr(words["ask"])} size="5"/>'
        f'<Choices name="{GRADE}" toName="{PASSAGE}" choice="single-radio" showInline="true" required="true">'
        f"{choices}</Choices>"
        f'<Text name="marked" value={quoteattr(words["marked"])}/></View>'
        "</View>"
    )


def instructions(language: Language) -> str:
    """The project's expert_instruction, shown before labelling begins."""
    page = GUIDELINES[language].html()
    # The page takes away margins and bullets, and the server takes away styles that would bring them back.
    return page.replace("<h3>", "<br><h3>").replace("<li>", "<li>• ")


def task_data(task: Mapping[str, Any]) -> dict[str, Any]:
    """What Label Studio stores of a task: `task` (what may leave the system) and the two texts as HTML."""
    wanted = query_terms(task["query_text"])
    title = marked(task["passage_title"], wanted).strip()
    heading = f'<div style="font-weight:600;margin-bottom:6px">{title}</div>' if title else ""
    return {
        **task,
        "query_html": f'<p style="font-size:1.25em;line-height:1.5">{marked(task["query_text"], frozenset())}</p>',
        "passage_html": f'{heading}<div style="line-height:1.7">{marked(task["passage_text"], wanted)}</div>',
    }


def query_terms(query: str) -> frozenset[str]:
    """The index terms of the query, as BM25 sees them (see retrieval.analysis)."""
    return frozenset(terms(query))


def marked(text: str, wanted: frozenset[str]) -> str:
    """Text as HTML, escaped, its line breaks kept, with the stretches that match a term in <mark>.

    A word is marked when its index term is wanted, a run of Chinese wherever one of its bigrams is, overlapping ones
    as one stretch.
    """
    pieces = []
    done = 0
    for start, end in _stretches(text, wanted):
        pieces += [_escaped(text[done:start]), _MARK, _escaped(text[start:end]), "</mark>"]
        done = end
    return "".join([*pieces, _escaped(text[done:])])


def _stretches(text: str, wanted: frozenset[str]) -> Iterator[tuple[int, int]]:
    """(start, end) of what to mark, in order, none touching the next."""
    begun: tuple[int, int] | None = None
    for start, end in _matches(text, wanted):
        if begun is not None and start <= begun[1]:
            begun = (begun[0], max(begun[1], end))
            continue
        if begun is not None:
            yield begun
        begun = (start, end)
    if begun is not None:
        yield begun


def _matches(text: str, wanted: frozenset[str]) -> Iterator[tuple[int, int]]:
    folded, places = _folded(text)
    for token in _TOKEN.finditer(folded):
        found = token[0]
        if not "\u3400" <= found[0] <= "\ufaff":
            spans = [(token.start(), token.end())] if wanted.intersection(terms(found)) else []
        elif len(found) == 1:
            spans = [(token.start(), token.end())] if found in wanted else []
        else:
            alone = range(token.start(), token.end() - 1)
            spans = [(at, at + 2) for at in alone if folded[at : at + 2] in wanted]
            spans += [(at, at + 1) for at in range(token.start(), token.end()) if folded[at] in wanted]
            spans.sort()
        for start, end in spans:
            yield places[start], places[end - 1] + 1


def _folded(text: str) -> tuple[str, list[int]]:
    """Text as the analysis folds it (NFKC, lower case), character by character, and where each came from."""
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for one in unicodedata.normalize("NFKC", character).lower():
            folded.append(one)
            places.append(place)
    return "".join(folded), places


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
