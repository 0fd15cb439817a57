"""Which decoder a file's pixel data need that is not installed."""

import re
from pathlib import Path

from pydicom import dcmread
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from myoscope.io.nifti import shown

UNCOMPRESSED = ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian
NAMES = {f"1.2.840.10008.1.2.4.{n}": "JPEG XL" for n in (110, 111, 112)}
"""What pydicom 3.0 has no name for."""

PLAIN = "have it sent or exported uncompressed (Explicit VR Little Endian) or as lossless JPEG"


def undecoded(path: Path) -> str | None:
    """What is missing to decode a file's pixel data, and what to do; None where it is not a decoder that is missing."""
    try:
        syntax = UID(dcmread(path, stop_before_pixels=True, force=True).file_meta.TransferSyntaxUID)
    except Exception:  # whatever a parser of foreign bytes may raise
        return None
    if syntax in UNCOMPRESSED:
        return None
    name = shown(f"{NAMES.get(syntax, syntax.name)} ({syntax})")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return f"expected an encoding that can be decoded, found {name}; there is no decoder: {PLAIN}"
    if decoder.is_available:
        return None
    ways = [re.findall(r"([\w-]+)>=", line) for line in decoder.missing_dependencies]
    packages = next((way for way in ways if "pylibjpeg" in way), ways[0] if ways else [])
    return f"expected a decoder of {name}, found none; pip install {' '.join(packages)}, or {PLAIN}"
