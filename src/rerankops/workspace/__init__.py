"""Storage of artefacts: content addresses, manifests with lineage, atomic publishing, named references.

An artefact is a folder `ROOT/objects/KIND/DIGEST/` of files and a `manifest.json` that is written last: an artefact
exists when its manifest does. Its address `KIND/DIGEST` is known before the work starts. It comes from the step's name,
the addresses of its inputs and the settings that matter to it (a derivation, as in Dolstra's "Purely Functional
Software Deployment", 2006), so a step that has run never runs again. The address of data from outside comes from their
bytes. References (`ROOT/refs/NAME.json`) are the only mutable things: names that point at addresses. They are replaced
atomically, or claimed once for all by the first process. Readers verify what was written: the manifest holds the
SHA-256 of every file and its own, and each read compares them.
"""

from __future__ import annotations

from rerankops.workspace.artefacts import Workspace
from rerankops.workspace.hashing import table_hash
from rerankops.workspace.manifest import Address, Manifest, digest
from rerankops.workspace.sealed import seal, unseal
from rerankops.workspace.writing import room

__all__ = ["Address", "Manifest", "Workspace", "digest", "room", "seal", "table_hash", "unseal"]
