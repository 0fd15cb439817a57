"""Files in and out.

nibabel imports pydicom, which takes longer than all of nibabel, for DICOM headers inside NIfTI files; nothing here
reads those. So it is imported here once, with pydicom out of sight.
"""

import sys

if "pydicom" not in sys.modules:
    sys.modules["pydicom"] = None  # type: ignore[assignment]
    try:
        import nibabel as _  # noqa: F401
    finally:
        del sys.modules["pydicom"]
