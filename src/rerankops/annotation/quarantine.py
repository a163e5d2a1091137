"""A delivery that was not accepted, kept whole: its bytes as they came, and why, for people and for programs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from upath import UPath

from rerankops.annotation.channel import Delivery
from rerankops.annotation.expectations import Finding, Validation
from rerankops.plain import in_markdown

READABLE, RECORD = "reasons.md", "reasons.json"


def raw_name(source: str) -> str:
    """The name under which the bytes of a delivery are kept: its ending says how to read them."""
    ending = PurePosixPath(source.lower()).suffix
    return f"raw{ending}" if re.fullmatch(r"\.[a-z]{1,8}", ending) else "raw.jsonl"


def dossier(delivery: Delivery, validation: Validation, *, when: datetime) -> dict[str, Any]:
    """What is known about a quarantined delivery, as a JSON-able document. when: aware."""
    return {
        "batch_id": delivery.batch_id,
        "source": delivery.source,
        "sha256": delivery.sha256,
        "bytes": len(delivery.content),
        "quarantined_at": when.astimezone(UTC).isoformat(),
        "reasons": list(validation.reasons),
        "findings": [asdict(finding) for finding in validation.findings],
        "metrics": validation.metrics,
        "raw": raw_name(delivery.source),
        "usable": 0 if validation.readable is None else validation.readable.num_rows,
    }


def write(
    folder: str | os.PathLike[str], delivery: Delivery, validation: Validation, *, when: datetime
) -> dict[str, Any]:
    """Writes the raw file, reasons.md and reasons.json (last: the dossier is whole when it is there) and returns the
    dossier. folder: a folder or an fsspec URI, of this delivery's own."""
    document = dossier(delivery, validation, when=when)
    root = UPath(folder)
    root.mkdir(parents=True, exist_ok=True)
    (root / raw_name(delivery.source)).write_bytes(delivery.content)
    (root / READABLE).write_bytes(readable(delivery, validation, when=when).encode())
    (root / RECORD).write_bytes(json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True).encode())
    return document


def readable(delivery: Delivery, validation: Validation, *, when: datetime) -> str:
    """The reasons as Markdown."""
    warnings = [finding for finding in validation.findings if finding.words not in validation.reasons]
    critical = [finding for finding in validation.findings if finding.words in validation.reasons]
    lines = [
        f"# Quarantined: {in_markdown(delivery.source)}",
        "",
        f"Batch {in_markdown(delivery.batch_id)}, {when.astimezone(UTC):%Y-%m-%d %H:%M} UTC, "
        f"SHA-256 `{delivery.sha256}`.",
        f"Nothing of it entered the judgments. The file as it came is `{raw_name(delivery.source)}`; correct it and "
        "deliver it again, or decide with `rerankops quarantine release` (its usable rows) or `reject`.",
        *_section("Reasons", critical),
        *_section("Also noticed", warnings),
        "",
        "## Measured",
        "",
        *(f"- {name}: {value:.6g}" for name, value in validation.metrics.items()),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    return [
        "",
        f"## {title}",
        "",
        *(
            f"- {in_markdown(finding.words)} (`{finding.expectation}`, observed {in_markdown(str(finding.observed))})"
            for finding in findings
        ),
    ]
