"""The labels of one study while a person changes them: apply, undo and redo without end, measure, save."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.correction import Before, read_before, remeasure
from myoscope.errors import InputError
from myoscope.io.record import FOLDER, sha256_of
from myoscope.io.save import write_series
from myoscope.labels import Structure
from myoscope.review.journal import Journal, hashes_of
from myoscope.review.numbers import Now, Numbers, Rings, count_voxels, measure_now, numbers_before
from myoscope.review.planes import Levels, levels_of
from myoscope.review.steps import Patch, Step, StepError, read_step, say_step
from myoscope.study import Role, Study
from myoscope.volume import Volume

IN_BLOOD = "The numbers here count the LV's papillary muscles as blood; the report counts them as myocardium."


@dataclass(frozen=True)
class Done:
    """A step that counts, and what takes it back."""

    step: Step
    back: Step


class Session:
    """One study under review; every change is in the journal before it is told.

    Args:
        out: The folder that `analyze` wrote.
        study: Its images.
    """

    def __init__(self, out: Path, study: Study) -> None:
        self.out, self.study = out, study
        self.seen, self.aside = _on_disk(out), out / f"review-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        self.before: Before = read_before(out, study)
        self.before.refuse_lost()
        self.labels = {s.role: self._codes(s.role) for s in study.series}
        self.levels: dict[Role, Levels] = {s.role: levels_of(s.image, self.labels[s.role]) for s in study.series}
        self.counts = {role: count_voxels(codes) for role, codes in self.labels.items()}
        self.rings = Rings()
        self.by_hand: dict[str, int] = self.before.by_hand
        self.old: Numbers = self._old()
        self.done: list[Done] = []
        self.undone: list[Step] = []
        self.saved: Done | None = None
        self.journal_from = 0
        self.notice: str | None = None
        self.journal = Journal(out)
        self._take_up()

    def _old(self) -> Numbers:
        """The numbers of the last analysis, counted as those beside the images are: papillary muscles in the blood."""
        if self.before.measurements.provenance.papillary == "blood":
            return numbers_before(self.before.measurements)
        return self._now().numbers

    def _now(self) -> Now:
        return measure_now(self.study, self.drawn(), self.counts, self.rings, self.by_hand, self.before.joint)

    def _codes(self, role: Role) -> np.ndarray:
        series = self.study.get(role)
        assert series is not None
        labels = self.before.labels.get(role)
        frames = series.image.frames
        return labels.frames.copy() if labels else np.zeros(frames.shape, np.uint8)

    def _take_up(self) -> None:
        """Take up the strokes that an earlier session did not save."""
        base = hashes_of(self.labels)
        found = self.journal.read(base)
        if not found.fits:
            self.journal.put_aside()
            self.notice = (
                "The label maps were changed by something else since; strokes that were not saved were put aside, in "
                "the folder, as a file whose name begins with .review-journal."
            )
            found.done, found.undone = [], []
        for said in found.done:
            self._apply(read_step(said, self.shapes))
        self.undone = [read_step(said, self.shapes) for said in found.undone]
        if self.done:
            self.notice = f"Strokes of an earlier session that were not saved were taken up again: {len(self.done)}."
        self.journal.begin(base, found.done, found.undone)
        if self.before.measurements.provenance.papillary == "muscle":
            self.notice = " ".join(filter(None, (self.notice, IN_BLOOD)))

    @property
    def shapes(self) -> dict[Role, tuple[int, ...]]:
        """(T, Z, Y, X) of every role's labels."""
        return {role: codes.shape for role, codes in self.labels.items()}

    def map_on(self, role: Role) -> Role | None:
        """The role whose joint map speaks for this one, where that is another."""
        joint = self.before.joint
        return joint if joint is not role and self.before.shares(role) else None

    @property
    def dirty(self) -> bool:
        """Whether something is not saved."""
        return (self.done[-1] if self.done else None) is not self.saved

    # --- changes ---

    def do(self, said: Any) -> dict[str, Any]:
        """Take a change from the page; gives the state after it.

        Raises:
            StepError: it is none.
        """
        step = read_step(said, self.shapes)
        if step.role and self.map_on(step.role):
            raise StepError(f"{step.role} is measured from the map on {self.map_on(step.role)}; correct it there")
        self.journal.add(do=say_step(step))
        self._apply(step)
        self.undone.clear()
        return self.state()

    def undo(self) -> dict[str, Any]:
        """Take the last change back; the state has the planes as they were."""
        if not self.done:
            return self.state()
        last = self.done.pop()
        if len(self.done) < self.journal_from:  # of before the last save: the journal does not know it
            self.journal.add(do=say_step(last.back))
        else:
            self.journal.add(undo=True)
        self._set(last.back)
        self.undone.append(last.step)
        return self.state(last.back)

    def redo(self) -> dict[str, Any]:
        """Do again what was taken back last."""
        if not self.undone:
            return self.state()
        step = self.undone.pop()
        self.journal.add(do=say_step(step))
        self._apply(step)
        return self.state(step)

    def _apply(self, step: Step) -> None:
        if step.frames is not None:
            back = Step(None, frames={name: self.by_hand.get(name) for name in step.frames})
        else:
            assert step.role is not None
            codes = self.labels[step.role]
            old = [Patch(p.t, p.z, p.index, codes[p.t, p.z].ravel()[p.index]) for p in step.patches]
            back = Step(step.role, tuple(reversed(old)))
        self._set(step)
        self.done.append(Done(step, back))

    def _set(self, step: Step) -> None:
        for name, frame in (step.frames or {}).items():
            self.by_hand.pop(name, None)
            if frame is not None:
                self.by_hand[name] = frame
        for patch in step.patches:
            assert step.role is not None
            plane = self.labels[step.role][patch.t, patch.z].reshape(-1)  # a view
            count = self.counts[step.role][patch.t]
            count -= np.bincount(plane[patch.index], minlength=len(Structure))
            plane[patch.index] = patch.codes
            self.rings.known.pop((step.role, patch.t, patch.z), None)
            count += np.bincount(patch.codes, minlength=len(Structure))

    # --- what the page is told ---

    def drawn(self) -> dict[Role, np.ndarray]:
        """The maps that count: those of the analysis, and those that a person drew something into."""
        return {r: c for r, c in self.labels.items() if r in self.before.labels or self.counts[r][:, 1:].any()}

    def state(self, changed: Step | None = None) -> dict[str, Any]:
        """Numbers and phases now; with it the planes that a step changed."""
        now = self._now()
        return {
            "numbers": now.numbers,
            "reasons": now.reasons,
            "curves": now.curves,
            "ed": now.phases.ed if isinstance(now.phases.ed, int) else None,
            "es": now.phases.es if isinstance(now.phases.es, int) else None,
            "by_hand": sorted(self.by_hand),
            "undo": len(self.done),
            "redo": len(self.undone),
            "dirty": self.dirty,
            "changed": None if changed is None or changed.frames is not None else say_step(changed),
        }

    # --- saving ---

    def save(self) -> dict[str, Any]:
        """Write OUT again: report, tables, label maps, DICOM; the automatic maps are kept. Gives the state.

        Raises:
            InputError: something else wrote there since; what is drawn here then lies in a folder of its own.
        """
        volumes = {role: self._volume(role, codes) for role, codes in self.drawn().items()}
        result = remeasure(self.study, volumes, self.before, by_hand=self.by_hand)
        if _on_disk(self.out) != self.seen:
            self._put_aside(volumes)
        self.journal.add(saving=hashes_of(self.labels))
        result.save(self.out, replaces=list(Role))
        self.seen = _on_disk(self.out)
        self.before = read_before(self.out, self.study)
        self.old = self._old()
        self.saved = self.done[-1] if self.done else None
        self.journal_from = len(self.done)
        self.journal.begin(hashes_of(self.labels), [], [])
        return self.state()

    def _put_aside(self, volumes: Mapping[Role, Volume]) -> None:
        """Write the maps as they are drawn here beside those of somebody else, and say so."""
        name = f"OUT/{self.aside.name}"
        try:
            self.aside.mkdir(exist_ok=True)
            for series in self.study.series:
                if series.role in volumes:
                    write_series(series, volumes[series.role], self.aside)
        except OSError as error:
            raise InputError(f"not saved, nor in {name} ({error.strerror}); free space and save again") from None
        raise InputError(
            "not saved: another program or review wrote label maps or results here since this page was opened; they "
            f"stay, and yours lie in {name}. To go on from the others, end this review and start it again; to measure "
            f"yours: myoscope measure STUDY --labels {name} --from OUT -o ANOTHER"
        )

    def _volume(self, role: Role, codes: np.ndarray) -> Volume:
        series = self.study.get(role)
        assert series is not None
        return series.image.with_voxels(codes.reshape(series.image.voxels.shape).copy())

    def close(self) -> None:
        """Leave no journal behind where nothing is unsaved."""
        if not self.dirty:
            self.journal.path.unlink(missing_ok=True)


def _on_disk(out: Path) -> dict[str, str]:
    """SHA-256 of what a save replaces and somebody else may have written: label maps, DICOM, measurements."""
    files = [*out.glob(f"{FOLDER}/*"), *out.glob("dicom/*"), out / "measurements.json"]
    return {str(path.relative_to(out)): sha256_of(path) for path in files if path.is_file() and path.name[0] != "."}
