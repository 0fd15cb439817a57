"""The built wheel: it holds what the program needs, and what it holds is enough."""

import os
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from myoscope import __version__
from myoscope.analysis import SYSTEM_FOR, USED
from myoscope.systems import full_name
from myoscope.weights import members_of, network_of, read_card

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"myoscope-{__version__}.dist-info"
    expected = {f"{info}/licenses/LICENSE", f"{info}/licenses/LICENSE-WEIGHTS.md", f"{info}/entry_points.txt"}
    expected |= {f"myoscope/weights/{name}.safetensors" for name in {*SYSTEM_FOR.values(), full_name("doc-net", None)}}
    files = (file for name in USED for file in members_of(network_of(name), read_card(network_of(name))))
    expected |= {f"myoscope/weights/{file.name}" for file in files}
    expected |= {f"myoscope/diagnose/{series}.json" for series in ("cine", "lge")}
    data = [path for kind in ("json", "safetensors") for path in (ROOT / "src").rglob(f"*.{kind}")]
    expected |= {path.relative_to(ROOT / "src").as_posix() for path in data}
    expected |= {"myoscope/report/templates/report.html.j2", "myoscope/report/templates/style.css"}
    expected |= {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    missing = sorted(expected - names)
    assert not missing
    outside = {name for name in names if not name.startswith(("myoscope/", f"{info}/"))}
    assert not outside
    assert not {name for name in names if "test" in name or name.endswith((".pyc", ".part", ".nii", ".nii.gz"))}
    assert wheel.stat().st_size < 80e6  # PyPI takes 100 MB


def test_the_wheel_alone_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    """Installed without its dependencies beside the ones of this environment, the source tree out of sight.

    `-S` keeps Python from reading this environment's .pth files, and with them the editable install; its packages are
    put behind the wheel's by hand.
    """
    home = tmp_path / "home"
    subprocess.run([*PIP, "install", "--no-deps", "--no-compile", "--target", home, wheel], check=True)
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join([str(home), *sorted(packages)])

    def run(*arguments: str) -> str:
        command = [sys.executable, "-S", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = run("-c", "import myoscope.cli, sys; print(myoscope.cli.__file__); print(sys.path)")
    assert found.startswith(str(home))
    assert str(ROOT / "src") not in found
    said = run("-m", "myoscope.cli", "demo", "-o", "out")
    report = tmp_path / said.rsplit("report: ", 1)[1].strip()
    assert report.is_file()
    assert (tmp_path / "out" / "measurements.json").is_file()
    assert "compact-lge" in run("-m", "myoscope.cli", "models")
