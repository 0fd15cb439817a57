"""The picture of remote myocardium: where the scar sheet looked, found without any label of infarct."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.results import Measurements
from myoscope.measure.thresholds import remote_mask
from myoscope.report.figures import base_to_apex, contour_path, crop, slice_svg, slice_windows
from myoscope.study import Role, Study
from myoscope.volume import Volume

COLOUR, DASH = "#ffffff", "5 3"


@dataclass(frozen=True)
class RemotePanel:
    """A slice with infarct, from 1 at the base, and its picture."""

    number: int
    svg: Markup


def remote_panels(study: Study, labels: Mapping[Role, Volume], measurements: Measurements) -> tuple[RemotePanel, ...]:
    """Slices that the scar sheet looked at, with the wall, the infarct and remote myocardium outlined."""
    series, drawn = study.get(Role.LGE), labels.get(Role.LGE)
    if measurements.lge.scar_sheet is None or series is None or drawn is None:
        return ()
    image, codes = series.image.frames[:1], drawn.frames[:1]
    order, _ = base_to_apex(codes)
    window = crop(codes, codes.shape[-2:], series.image.spacing_mm[1:])
    grey = slice_windows(image[:, :, *window], codes[:, :, *window] > 0, series.image.spacing_mm[1:])
    panels = []
    for number, z in enumerate(order, 1):
        if not (codes[0, z] == Structure.INFARCT).any():
            continue
        tissue = np.isin(codes[0, z], LV_WALL) & (codes[0, z] != Structure.NO_REFLOW)
        path = contour_path(remote_mask(image[0, z], tissue)[window])
        outline = f'<path class="under" d="{path}"/>{_line(path)}'
        alt = f"Remote myocardium, slice {number} of {len(order)}"
        panels.append(
            RemotePanel(number, slice_svg(grey[0, z], codes[0, z][window], series.image.spacing_mm[1:], alt, outline))
        )
    return tuple(panels)


def remote_key() -> Markup:
    """The line of remote myocardium, for the legend."""
    return Markup(f'<svg class="key" viewBox="0 0 36 12" aria-hidden="true">{_line("M1 6H35")}</svg>')


def _line(path: str) -> str:
    return f'<path d="{path}" stroke="{COLOUR}" stroke-dasharray="{DASH}"/>'
