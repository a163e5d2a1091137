"""The many ways in which a delivery is damaged: cases, each with what must become of it and what must be said.

`ODD` are deliveries that look strange and must be accepted whole.
"""

from annotation_damages import files, lines, odd, people, texts

CASES = [*files.CASES, *lines.CASES, *texts.CASES, *people.CASES]
ODD = odd.CASES
