"""The door: what people return is accepted, accepted in part or quarantined, with reasons a person can act on.

What is wrong with a delivery **as a whole** quarantines it: nothing of it enters the judgments until it is delivered
again or released by a person. What concerns **a few lines or one annotator** sets these aside with a reason, and the
rest is accepted in part. Everything else is accepted; what is odd and harmless is a warning.

| looked at | quarantined | set aside | warned about |
|---|---|---|---|
| lines | more than `max_set_aside_share` of them break one rule, or any; an end that is cut off; a missing field; columns in one another's place; grades counted from 1; an unknown batch; a gold question | unreadable; of another batch or task; a field that is empty or cannot be read; a grade or time out of range; a time before the batch was made; another text than was sent; contradicting grades of one person | said twice; lead times that cannot be |
| people | fewer than `min_completeness_left` of the annotations are left without those who are set aside | fail control tasks; agree with others as a guess does; faster than `min_median_seconds`; one grade or a pattern throughout; another's work to the instant; a second spelling on the same tasks | fail controls that are too few to tell; two spellings |
| queries | fewer than `min_completeness` of all annotations came back | fewer than `min_query_completeness` of its tasks can be used | lacks some |
| all grades | controls failed or gone; a `positive_share` out of bounds; drift beyond the second of `grade_drift` | | no controls; drift beyond the first |

Shares of people and of grades are judged by bounds that know the sample size (Clopper and Pearson, 1934; tests at
`SIGNIFICANCE`), so that a few annotations condemn nobody. Great Expectations decides on four tables: the lines, the
annotators, the queries, and the batch as one row. Which lines are set aside is worked out beside it, and where the two
do not agree, or a check cannot be evaluated, the delivery is quarantined.
"""  # noqa: E501 - a table

from rerankops.annotation.expectations._annotators import CONTROL_TOLERANCE
from rerankops.annotation.expectations._door import validate
from rerankops.annotation.expectations._rows import CLOCK_SLACK, EARLIEST
from rerankops.annotation.expectations._statistics import SIGNIFICANCE
from rerankops.annotation.expectations._verdict import (
    ASIDE,
    CRITICAL,
    GRADE_COUNTS,
    SET_ASIDE,
    WARNING,
    Finding,
    Outcome,
    Validation,
)

__all__ = [
    "ASIDE",
    "CLOCK_SLACK",
    "CONTROL_TOLERANCE",
    "CRITICAL",
    "EARLIEST",
    "GRADE_COUNTS",
    "SET_ASIDE",
    "SIGNIFICANCE",
    "WARNING",
    "Finding",
    "Outcome",
    "Validation",
    "validate",
]
