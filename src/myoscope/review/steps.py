"""One change that a person made: voxels of some planes of one role, or the frames of end-diastole and end-systole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from myoscope.errors import InputError
from myoscope.labels import Structure
from myoscope.study import Role

FRAME_NAMES = ("ed_frame", "es_frame")


class StepError(InputError):
    """What the page sent is no change of this study's labels."""


@dataclass(frozen=True)
class Patch:
    """Voxels of one plane (`index` into its rows joined, ascending) and their codes."""

    t: int
    z: int
    index: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class Step:
    """A change: `patches` of one role, or `frames` (None: not chosen by hand)."""

    role: Role | None
    patches: tuple[Patch, ...] = ()
    frames: Mapping[str, int | None] | None = None


def read_step(said: Any, shapes: Mapping[Role, tuple[int, ...]]) -> Step:
    """A step from what the page (or the journal) says.

    Args:
        said: `{"role": "cine", "patches": [{"t": 0, "z": 3, "runs": [[start, length, code], ...]}]}`, or
            `{"frames": {"ed_frame": 0}}`.
        shapes: (T, Z, Y, X) of every role's labels.

    Raises:
        StepError: it is neither, or points outside of the labels.
    """
    if not isinstance(said, dict):
        raise StepError("expected a change, found none")
    if "frames" in said:
        return Step(None, frames=_frames(said["frames"], shapes.get(Role.CINE, (0,))[0]))
    role = said.get("role")
    if role not in list(Role) or Role(role) not in shapes:
        raise StepError("expected the role of a series of this study")
    patches = said.get("patches")
    if not isinstance(patches, list) or not patches:
        raise StepError("expected at least one changed plane")
    return Step(Role(role), tuple(_patch(patch, shapes[Role(role)]) for patch in patches))


def say_step(step: Step) -> dict[str, Any]:
    """The step as `read_step` takes it."""
    if step.frames is not None:
        return {"frames": dict(step.frames)}
    return {
        "role": step.role,
        "patches": [{"t": p.t, "z": p.z, "runs": runs_of(p.index, p.codes)} for p in step.patches],
    }


def runs_of(index: np.ndarray, codes: np.ndarray) -> list[list[int]]:
    """Runs [start, length, code] of neighbouring voxels with one code.

    >>> runs_of(np.array([3, 4, 5, 9]), np.array([1, 1, 2, 2]))
    [[3, 2, 1], [5, 1, 2], [9, 1, 2]]
    """
    if not len(index):
        return []
    starts = np.flatnonzero(np.r_[True, (np.diff(index) != 1) | (np.diff(codes.astype(int)) != 0)])
    lengths = np.diff(np.r_[starts, len(index)])
    return np.stack([index[starts], lengths, codes[starts]], 1).astype(int).tolist()


def _patch(said: Any, shape: Sequence[int]) -> Patch:
    try:
        t, z = said["t"], said["z"]
        if any(type(value) is not int for value in (t, z)):
            raise TypeError
        runs = np.array(said["runs"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise StepError("expected a plane with t, z and runs of three whole numbers") from None
    if runs.ndim != 2 or runs.shape[1] != 3 or runs.dtype.kind != "i":
        raise StepError("expected runs of three whole numbers")
    start, length, codes = runs.T
    size = shape[2] * shape[3]
    inside = 0 <= t < shape[0] and 0 <= z < shape[1] and start.min() >= 0 and start.max() < size
    if not (inside and length.min() > 0 and length.max() <= size and (start + length).max() <= size):
        raise StepError("expected voxels inside of the labels")
    if (start[1:] < (start + length)[:-1]).any():
        raise StepError("expected runs in ascending order, none over another")
    if codes.min() < 0 or codes.max() > max(Structure):
        raise StepError(f"expected codes 0 to {max(Structure)}")
    first = np.repeat(start - np.r_[0, np.cumsum(length)[:-1]], length)
    return Patch(t, z, (first + np.arange(length.sum())).astype(np.uint32), np.repeat(codes, length).astype(np.uint8))


def _frames(said: Any, count: int) -> dict[str, int | None]:
    if not isinstance(said, dict) or not said or not set(said) <= set(FRAME_NAMES):
        raise StepError("expected ed_frame or es_frame")
    if any(value is not None and (type(value) is not int or not 0 <= value < count) for value in said.values()):
        raise StepError(f"expected a frame from 0 to {count - 1}")
    return dict(said)
