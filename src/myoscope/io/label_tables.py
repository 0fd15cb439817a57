"""What the codes of our label maps mean, in the words and colours of the report, for ITK-SNAP and 3D Slicer."""

from myoscope.labels import Structure

_SNAP_HEAD = """################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""


def itk_snap_table() -> str:
    """Label descriptions for ITK-SNAP (Segmentation, Import Label Descriptions).

    >>> print(itk_snap_table().splitlines()[6])
        1   213   94    0  1  1  1  "LV blood pool"
    """
    lines = []
    for structure in Structure:
        red, green, blue = _rgb(structure)
        shown = int(structure is not Structure.BACKGROUND)
        name = structure.title if shown else "Clear Label"  # ITK-SNAP's own word for 0
        lines.append(f'{structure:5d} {red:5d} {green:4d} {blue:4d}  {shown}  {shown}  {shown}  "{name}"\n')
    return _SNAP_HEAD + "".join(lines)


def slicer_table() -> str:
    """A color table for 3D Slicer, to be chosen where a label map is loaded; Slicer shows underscores as spaces.

    >>> print(slicer_table().splitlines()[3])
    1 LV_blood_pool 213 94 0 255
    """
    lines = ["# Color table file myoscope", f"# {len(Structure)} values"]
    for structure in Structure:
        opaque = 255 * (structure is not Structure.BACKGROUND)
        lines.append(" ".join(map(str, (int(structure), structure.title.replace(" ", "_"), *_rgb(structure), opaque))))
    return "\n".join(lines) + "\n"


def _rgb(structure: Structure) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(structure.colour[1:])
    return red, green, blue
