"""The weights that are installed, each with its card (json) beside it.

The laboratory reads safetensors, the clinic network files (ONNX), which `train` and `lab.export` write beside them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from myoscope.errors import InputError
from myoscope.files import write_whole

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


def is_installed(system: str) -> bool:
    """Whether a system's weights are installed."""
    return (FOLDER / f"{system}.safetensors").is_file()


def network_of(system: str, models: Path | None = None) -> Path:
    """Path NAME.onnx of a system's network file: in a folder of one's own, where it is there, or installed."""
    own = models / f"{system}.onnx" if models else None
    return own if own and own.with_suffix(".json").is_file() else FOLDER / f"{system}.onnx"


def read_card(path: Path) -> dict[str, Any]:
    """The card beside a network file.

    Raises:
        InputError: it is missing or no card.
    """
    try:
        card = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        card = None
    if not isinstance(card, dict):
        raise InputError(f"{path.name}: expected a card ({path.stem}.json) beside it, found none; train or reinstall")
    return card


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Write the card (json) of weights or of a network file, beside them."""
    write_whole(path.with_suffix(".json"), json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def add_to_card(path: Path, facts: Mapping[str, Any]) -> None:
    """Add to the card that lies beside weights or a network file."""
    write_card(path, {**read_card(path), **facts})


def members_of(path: Path, card: Mapping[str, Any], part: str = "") -> list[Path]:
    """The network files of a system: NAME.onnx; NAME.1.onnx and so on where the card says `members`; of a `part`
    (first stage) NAME.PART.onnx.

    Raises:
        InputError: one is missing.
    """
    stem = ".".join([path.stem, part] if part else [path.stem])
    count = int(card.get("members", 1))
    files = [path.with_name(f"{stem}{f'.{i}' if count > 1 else ''}.onnx") for i in range(1, count + 1)]
    if missing := [file.name for file in files if not file.is_file()]:
        raise InputError(f"{missing[0]}: expected a network file, found none; python -m myoscope.lab.export writes it")
    return files


def write_weights(path: Path, tensors: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Write tensors (safetensors), and their card (json) beside them."""
    from safetensors.torch import save

    write_card(path, card)
    write_whole(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def half(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The floating-point tensors in float16; counters are left out."""
    return {name: tensor.half() for name, tensor in tensors.items() if tensor.is_floating_point()}


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Card, float32 tensors by name, and the SHA-256 of the weights; to be called `refusing` what is no weights.

    Raises:
        InputError: weights or card are missing.
    """
    from safetensors.torch import load

    if not (path.is_file() and path.with_suffix(".json").is_file()):
        raise InputError(f"{path}: expected weights with a card beside them, found none; train or reinstall")
    data = path.read_bytes()
    tensors = {name: tensor.float() for name, tensor in load(data).items()}
    return json.loads(path.with_suffix(".json").read_text()), tensors, hashlib.sha256(data).hexdigest()


def load_into(network: Any, tensors: Mapping[str, Any]) -> None:
    """Load tensors that may lack counters only.

    Raises:
        ValueError: others are missing, or too many.
    """
    result = network.load_state_dict(tensors, strict=False)
    missing = [name for name in result.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or result.unexpected_keys:
        raise ValueError(f"{len(missing)} tensors missing, {len(result.unexpected_keys)} too many")


@contextmanager
def refusing(path: Path, kind: str) -> Iterator[None]:
    """Whatever goes wrong while weights are read becomes an InputError that names the file and what was expected."""
    from safetensors import SafetensorError

    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path}: not the weights of {kind} ({first}); train it again") from None


def cards() -> list[dict[str, Any]]:
    """The card of every installed model, by name."""
    return [read_card(path) for path in sorted(FOLDER.glob("*.safetensors"))]
