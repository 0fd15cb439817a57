"""Random combinations of faults in DICOM and NIfTI studies: is what is measured right, or openly not?

    python benchmarks/inputs.py --count 500 --page docs/results/inputs.md

Every fault alone, then combinations, half of them DICOM and half NIfTI, then studies without a fault, which no warning
of reading may come from. Ends with 1 where a number was wrong without a word, or anything ended in a traceback.
"""

import argparse
import multiprocessing
import sys
import tempfile
import traceback
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import dicom_faults
import nifti_faults

GENERATORS = {"DICOM": dicom_faults, "NIfTI": nifti_faults}
PHANTOMS = 3
OUTCOMES = ("right", "warned", "null", "refused", "WRONG", "traceback", "warning without a fault")

Found = tuple[str, list[str], str]


def one(job: tuple[str, int, str]) -> Found:
    """The kind of file, the faults, and what became of them: of one fault by name, of a combination, of none."""
    kind, seed, what = job
    generator, rng = GENERATORS[kind], np.random.default_rng(seed)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        try:
            draft = generator.drawn(seed % PHANTOMS)
            if what == "combination":
                generator.spoil(draft, rng)
            elif what:
                next(f for group in generator.GROUPS for f in group if f.__name__ == what)(draft, rng)
                draft.faults.append(what)
            found = generator.outcome(draft, Path(folder))
        except Exception:
            return kind, draft.faults, f"traceback: seed {seed}: {traceback.format_exc().splitlines()[-1]}"
    if not what and found != "right":
        return kind, [], f"warning without a fault: seed {seed}: {found}"
    return kind, draft.faults, f"{found} (seed {seed})" if found.startswith("WRONG") else found


def jobs(count: int, clean: int) -> list[tuple[str, int, str]]:
    """Every fault alone, `count` combinations, `clean` studies without a fault."""
    alone = [
        (kind, i, f.__name__) for kind, g in GENERATORS.items() for i, f in enumerate(f for s in g.GROUPS for f in s)
    ]
    kinds = list(GENERATORS)
    together = [(kinds[seed % 2], seed, "combination") for seed in range(count)]
    return alone + together + [(kinds[seed % 2], seed, "") for seed in range(clean)]


def page(found: list[Found], count: int, clean: int) -> str:
    """Outcomes by number of faults, and by fault, in Markdown."""
    lines = [
        "# What becomes of faulty input",
        "",
        f"Written by `python benchmarks/inputs.py --count {count} --clean {clean}`: every fault alone, {count} random",
        f"combinations of up to three of `tests/dicom_faults.py` and `tests/nifti_faults.py`, and {clean} studies",
        f"without a fault, on {PHANTOMS} phantoms; measured from the phantom's own labels carried through reading.",
        "Right: within 1 %. Warned: a number differs, and a warning of reading names the cause. Null: with its reason.",
        "Refused: one line. Faults that cannot be seen (an end slice that was never sent) are not among them.",
        "",
    ]
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    faults: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, names, outcome in found:
        sizes[f"{kind}, {len(names)} faults"][_short(outcome)] += 1
        for name in names:
            faults[f"{kind}: {name.replace('_', ' ')}"][_short(outcome)] += 1
    for title, table in (("studies", sizes), ("fault, alone or with others", faults)):
        lines += [f"| {title} | n | " + " | ".join(OUTCOMES) + " |", "|---" * (len(OUTCOMES) + 2) + "|"]
        for name, counts in sorted(table.items()):
            cells = " | ".join(str(counts[outcome] or "") for outcome in OUTCOMES)
            lines.append(f"| {name} | {counts.total()} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def _short(outcome: str) -> str:
    return next((known for known in OUTCOMES if outcome.startswith(known)), outcome)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--clean", type=int, default=16)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    for generator in GENERATORS.values():  # once, before the processes part
        for seed in range(PHANTOMS):
            generator.drawn(seed)
    with ProcessPoolExecutor(given.processes, multiprocessing.get_context("fork")) as pool:
        found = []
        for outcome in pool.map(one, jobs(given.count, given.clean), chunksize=4):
            found.append(outcome)
            if _short(outcome[2]) in OUTCOMES[4:]:
                print(*outcome, flush=True)
    bad = [f for f in found if _short(f[2]) in OUTCOMES[4:]]
    print(Counter(_short(outcome) for _, _, outcome in found))
    if given.page:
        given.page.write_text(page(found, given.count, given.clean))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
