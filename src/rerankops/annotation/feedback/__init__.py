"""What users do, as judgments and preferences: clicks corrected for position, likes and dislikes, corrections.

Everything here rests on the position-based model (Richardson, Dominowska and Ragno, "Predicting clicks", 2007): a
passage at rank k is clicked when it is examined, which depends on k alone (its propensity), and attracts, which depends
on query and passage alone. What the model leaves out biases the result: trust in the first rank beyond its being seen
(trust bias), users who stop at the first good passage (cascade), and clicks on passages that look good and are not.
scipy is imported only by the functions that need it.
"""

from rerankops.annotation.feedback.clicks import click_trials, examinable, impressions
from rerankops.annotation.feedback.grading import Rates, graded, measured_rates
from rerankops.annotation.feedback.preferences import preferences
from rerankops.annotation.feedback.propensity import Estimate, Propensities, estimate
from rerankops.annotation.feedback.reactions import corrections, reaction_trials

__all__ = [
    "Estimate",
    "Propensities",
    "Rates",
    "click_trials",
    "corrections",
    "estimate",
    "examinable",
    "graded",
    "impressions",
    "measured_rates",
    "preferences",
    "reaction_trials",
]
