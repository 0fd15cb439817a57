"""Runs network files (ONNX) on the CPU, in float32: the one door between the laboratory and the clinic."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.errors import InputError
from myoscope.labels import Structure
from myoscope.study import Role
from myoscope.weights import members_of, read_card

SLICES_AT_ONCE = 4
"""More need more memory and no less time, and give the same numbers."""


def cores() -> int:
    """How many processors a study may use: OMP_NUM_THREADS, where it is set, or all that this process has."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Network:
    """The members of one network, whose outputs are averaged, and its card.

    Args:
        files: One network file (ONNX) for each member.
        card: At least `system`, `classes`, `spacing_mm` and `multiple` (see `lab.export`).
    """

    files: tuple[bytes, ...]
    card: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path, part: str = "") -> "Network":
        """Read NAME.onnx (or NAME.1.onnx, ... as many as the card says) and NAME.json; `part` is NAME.PART.onnx.

        Raises:
            InputError: a file is missing, or is no network that fits the card.
        """
        card = read_card(path)
        files = tuple(file.read_bytes() for file in members_of(path, card, part))
        try:
            if part:  # what was chosen for the whole says nothing of a part
                card = {key: value for key, value in card.items() if key != "chosen"} | card[part]
            network = cls(files, card)
            network.check()
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"{path.name}: expected a network file and its card, as train writes them, found others "
                f"({str(error).splitlines()[0]}); train it again"
            ) from None
        return network

    def check(self) -> None:
        """Open the members and see whether they fit the card.

        Raises:
            KeyError, ValueError, TypeError: they do not.
        """
        for session in self._sessions:
            found = session.get_outputs()[0].shape[1]
            if found != len(self.classes):
                raise ValueError(f"{found} outputs for {len(self.classes)} classes")
        _ = self.spacing_mm, self.multiple, self.roles, self.smallest_ml

    @cached_property
    def sha256(self) -> str:
        """Of the file; of all files, one after the other, where there are several members."""
        return hashlib.sha256(b"".join(self.files)).hexdigest()

    @property
    def members_sha256(self) -> list[str]:
        """Of each file."""
        return [hashlib.sha256(file).hexdigest() for file in self.files]

    @cached_property
    def first_member(self) -> "Network":
        """The first of the members alone."""
        return self.member(0)

    def member(self, k: int) -> "Network":
        """One of the members alone, counted from 0, with what the card says of it."""
        if len(self.files) == 1:
            return self
        own = {key: self.card[key][k] for key in ("minutes", "steps") if isinstance(self.card.get(key), list)}
        return replace(self, files=self.files[k : k + 1], card={**self.card, **own})

    @cached_property
    def classes(self) -> tuple[Structure, ...]:
        """In the order of the outputs."""
        return tuple(Structure[name.upper()] for name in self.card["classes"])

    @property
    def roles(self) -> tuple[Role, ...]:
        """What the network reads: any of these, or (joint map) each in a channel of its own."""
        return tuple(map(Role, self.card["roles"]))

    @property
    def spacing_mm(self) -> float:
        """In-plane spacing of its input."""
        return float(self.card["spacing_mm"])

    @property
    def multiple(self) -> int:
        """What the sides of its input must be divisible by."""
        return int(self.card["multiple"])

    @property
    def smallest_ml(self) -> dict[Structure, float]:
        """Less than this of a structure in the whole stack is taken for a mistake."""
        known = (self.card.get("chosen") or self.card).get("smallest_ml") or {}
        return {Structure[name.upper()]: float(ml) for name, ml in known.items()}

    @cached_property
    def _sessions(self) -> Sequence[Any]:
        import onnxruntime

        _share_memory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            return [
                onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]) for file in self.files
            ]
        except Exception as error:  # onnxruntime's errors have no other common ancestor
            raise ValueError(str(error)) from None

    def run(self, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, C, H, W) of input slices (N, channels, H, W), and their distances from training's (N,).

        The mean over the members; distances are NaN where the network knows none, or sees no heart.
        """
        outputs = [session.run(None, {"x": stack}) for session in self._sessions]
        logits = sum(output[0] for output in outputs) / np.float32(len(outputs))
        far = [output[1] if len(output) > 1 else np.full(len(stack), np.nan, np.float32) for output in outputs]
        return logits, np.mean(far, 0)

    def look(self, stack: np.ndarray, margin: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """As `run`, for slices of any size and number: with an empty margin, so many at once as fit."""
        height, width = stack.shape[2:]
        m = self.multiple * margin
        padded = np.pad(stack, ((0, 0), (0, 0), *((m, m + -side % self.multiple) for side in (height, width))))
        parts = [self.run(padded[i : i + SLICES_AT_ONCE]) for i in range(0, len(padded), SLICES_AT_ONCE)]
        logits = np.concatenate([logits for logits, _ in parts])
        return logits[:, :, m : m + height, m : m + width], np.concatenate([far for _, far in parts])


@lru_cache(maxsize=1)
def _share_memory() -> None:
    """One arena for all networks of this process: each member would keep one of its own."""
    import onnxruntime as ort

    kind = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(kind, ort.OrtArenaCfg(0, -1, -1, -1))


def each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """A function over frames, on all cores at once; one alone in this thread."""
    if len(items) == 1:
        return [function(items[0])]
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, items))
