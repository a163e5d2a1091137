"""Where artefacts live: content addresses, manifests with lineage, atomic publishing, named references.

An artefact is a folder `ROOT/objects/KIND/DIGEST/` of files and a `manifest.json` that is written last: an artefact
exists when its manifest does. Its address `KIND/DIGEST` is known before the work is done, from the step's name, the
addresses of its inputs and the settings that matter to it (a derivation, as in Dolstra's "Purely Functional Software
Deployment", 2006), so a step that ran is never run twice. Data from outside are addressed by their bytes.
References (`ROOT/refs/NAME.json`) are the only mutable things: named pointers at addresses, replaced atomically, or
claimed once for all by the first who comes.
What is read is what was written: the manifest holds the SHA-256 of every file and its own, and whoever reads compares.
"""

from __future__ import annotations

from rerankops.workspace.artefacts import Workspace
from rerankops.workspace.hashing import table_hash
from rerankops.workspace.manifest import Address, Manifest, digest
from rerankops.workspace.sealed import seal, unseal
from rerankops.workspace.writing import room

__all__ = ["Address", "Manifest", "Workspace", "digest", "room", "seal", "table_hash", "unseal"]
