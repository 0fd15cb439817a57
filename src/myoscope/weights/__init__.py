"""The weights that are installed: safetensors, each with its card (json) beside it."""

import json
from pathlib import Path
from typing import Any

from myoscope.errors import InputError

FOLDER = Path(__file__).parent


def weights_of(system: str) -> Path:
    """Path of a system's installed weights.

    Raises:
        InputError: none are installed.
    """
    path = FOLDER / f"{system}.safetensors"
    if not path.is_file():
        call = system.replace(".", " --variant ")
        raise InputError(f"no weights are installed for {system}; train it with: myoscope train {call}")
    return path


def cards() -> list[dict[str, Any]]:
    """The card of every installed model, by name."""
    return [json.loads(p.with_suffix(".json").read_text()) for p in sorted(FOLDER.glob("*.safetensors"))]
