"""The owner's manual as it is written down: every topic, in the order of print."""

from __future__ import annotations

from rerankops.demo.forms import Topic
from rerankops.demo.manual import (
    access,
    assistance,
    cabin,
    care,
    driving,
    electric,
    emergency,
    fluids,
    overview,
    specs,
    upkeep,
    wheels,
)

TOPICS: tuple[Topic, ...] = (
    *overview.TOPICS,
    *specs.TOPICS,
    *electric.TOPICS,
    *access.TOPICS,
    *cabin.TOPICS,
    *driving.TOPICS,
    *assistance.TOPICS,
    *wheels.TOPICS,
    *fluids.TOPICS,
    *upkeep.TOPICS,
    *care.TOPICS,
    *emergency.TOPICS,
)
