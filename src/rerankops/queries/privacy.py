"""Redaction of queries: see rerankops.privacy."""

from rerankops.privacy import PLACEHOLDER as PLACEHOLDER
from rerankops.privacy import redact as redact
