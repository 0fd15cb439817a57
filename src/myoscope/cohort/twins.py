"""Studies that lie twice in a cohort: the same images by their bytes or by their voxels, wherever the files lie."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from myoscope.cohort.state import Out
from myoscope.io.record import read_record

SHOWN = 3
"""So many other studies are named."""

FLAG = {
    "code": "images_twice",
    "level": "warning",
    "series": None,
    "message": "This study lies twice in the cohort: its patient counts twice in every mean; leave one of them out.",
}
"""What a row is warned of; which study is the other one stands under its `reason`."""


def find_twins(state: Out, studies: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """By study, for those whose images another study has too: those studies, and the roles of the images."""
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for study in studies:
        record = read_record(state.studies / study)
        for image in record.images if record else ():
            for key in {image.sha256, image.voxels_sha256} - {None}:
                places[str(key)].append((study, image.role))
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for same in places.values():
        for study, role in same:
            for other in (one for one, _ in same if one != study):
                if role not in found[study][other]:
                    found[study][other].append(role)
    return found


def in_words(others: Mapping[str, list[str]]) -> str:
    """Which other studies have the same images.

    >>> in_words({"p2": ["cine", "lge"]})
    'the same images as p2 (cine, lge)'
    """
    names = [f"{other} ({', '.join(roles)})" for other, roles in sorted(others.items())]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"the same images as {', '.join(names[:SHOWN])}{more}"
