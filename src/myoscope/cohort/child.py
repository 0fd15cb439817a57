"""The process that analyses: takes one study a line (JSON) on its input, answers with one line each.

It loads the networks once. It is a process of its own so that a study that hangs, takes all memory or crashes ends it
and nothing else; `work` starts it, watches it, and starts another.
"""

import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from myoscope.cohort.find import Item
from myoscope.cohort.inputs import alone, fingerprint, without_names
from myoscope.cohort.patients import with_facts
from myoscope.cohort.state import Out, made_now
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.study import Study

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""The disk's fault, not the study's."""


def analyse(task: dict[str, Any]) -> dict[str, Any]:
    """Analyse one study into OUT/.work/<id> and put it in its place; says what became of it."""
    item, out, start = Item(**task["item"]), Out(task["out"]), time.monotonic()
    part, scratch = out.work / item.id, out.work / f"{item.id}.tmp"
    try:
        for folder in (part, scratch):
            shutil.rmtree(folder, ignore_errors=True)
        scratch.mkdir(parents=True)
        tempfile.tempdir = str(scratch)  # what is unpacked goes when the study is done
        made = made_now(fingerprint(item), task["patient"])
        _analyse(item, out, task, part)
        record = {
            "made_of": asdict(made),
            "seconds": round(time.monotonic() - start, 3),
            "memory_mb": round(_memory_mb(), 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "class": task["patient"].get("class"),
        }
        write_whole(part / "run.json", json.dumps(record, indent=1) + "\n")
        out.finish(item.id, part)
        return {"status": "done", **record}
    except Exception as error:
        if full := _disk_problem(error):
            return {"status": "full", "reason": full}
        reason = _reason(error)
        return {"status": "failed", "reason": without_names(reason, item, task["hashed"])}
    finally:
        tempfile.tempdir = None
        for folder in (part, scratch):
            shutil.rmtree(folder, ignore_errors=True)


def _analyse(item: Item, out: Out, task: dict[str, Any], part: Path) -> None:
    from myoscope.analysis import analyze
    from myoscope.cohort.thumbnails import write_thumbnail
    from myoscope.io.read import read_study

    study = replace(read_study(alone(item, out.inputs / item.id)), id=item.id)
    if task["hashed"]:
        study = _nameless_files(study, out.inputs / item.id)
        notes = [replace(note, message=without_names(note.message, item, True)) for note in study.notes]
        study = replace(study, notes=tuple(notes))
    if task["patient"]:
        study = with_facts(study, task["patient"])
    result = analyze(study)
    result.save(part)
    write_thumbnail(part, result)


def _nameless_files(study: Study, folder: Path) -> Study:
    """NIfTI files under names that say what they show, as links: results are named after them."""
    if any(series.source for series in study.series):
        return study
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    changed = []
    for series in study.series:
        files = []
        for i, grid in enumerate(series.files):
            frame = f"_frame{i + 1:02d}" if len(series.files) > 1 else ""
            link = folder / f"{series.role}{frame}{'.nii.gz' if grid.path.name.lower().endswith('gz') else '.nii'}"
            link.unlink(missing_ok=True)
            link.symlink_to(grid.path.resolve())
            files.append(replace(grid, path=link))
        changed.append(replace(series, name=str(series.role), files=tuple(files)))
    return replace(study, series=tuple(changed))


def _disk_problem(error: BaseException | None) -> str | None:
    """What the system said, where the disk is full: `InputError`s made of an `OSError` have it as their context."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK:
            return os.strerror(error.errno or 0)
        error = error.__cause__ or error.__context__
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there was not enough memory"
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown place"
    return f"a bug: {type(error).__name__} at {where}; analyze this study alone to see it"


def _memory_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def main() -> None:
    """Serve until the input ends, which it does when whoever started this is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nobody waits for the answer any more
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        answers.write(json.dumps(analyse(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
