"""Removes personal data from all that is stored or sent out: queries, comments, logs, messages (docs/privacy.md)."""

from rerankops.privacy.kinds import GUESSED as GUESSED
from rerankops.privacy.kinds import IDENTIFYING as IDENTIFYING
from rerankops.privacy.kinds import PLACEHOLDER as PLACEHOLDER
from rerankops.privacy.kinds import VERSION as VERSION
from rerankops.privacy.redaction import redact as redact
from rerankops.privacy.redactor import Redactor as Redactor
