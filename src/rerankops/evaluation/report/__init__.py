"""The evaluation report: one self-contained HTML page that a person decides by. No network, no script.

Text of questions and passages is HTML, so the reader's browser chooses the fonts (Chinese included); plots are inline
SVG placed in per cent, so they fit a phone, and coloured by CSS variables, so they follow light and dark. Choosing
among questions is CSS alone: a browser that cannot, shows all of them.
"""

from rerankops.evaluation.report.duels import SHOWN, Duel, Question, duel
from rerankops.evaluation.report.page import render

__all__ = ["SHOWN", "Duel", "Question", "duel", "render"]
