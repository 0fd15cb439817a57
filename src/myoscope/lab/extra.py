"""What the extra `lab` installs: looked for before anything is read or trained."""

from importlib.util import find_spec

from myoscope.errors import InputError

EXTRA = ("matplotlib", "monai", "onnx", "segmentation_models_pytorch", "sklearn", "timm", "torch", "torchvision")


def check_extra(command: str) -> None:
    """Refuse a command whose packages are not installed, before it has cost anybody time.

    Raises:
        InputError: one of them is not there.
    """
    missing = [package for package in EXTRA if not find_spec(package)]
    if missing:
        raise InputError(f"{command}: expected the package {missing[0]}, found none; pip install 'myoscope[lab]'")
