"""`myoscope inspect`: what each DICOM series is, and whether it is used."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_writer import change, files, tiny_study, write_dicom
from myoscope import cli
from myoscope.io.save import write_study


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["myoscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return run


def test_inspect_prints_text_as_text(say: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "scouts")
    for path in files(tmp_path, 8):
        change(path, SeriesDescription="[red]de_psir[/] \x1b[31m<b>", PatientName="[bold]Muster^Erika")
    code, out, _ = say("inspect", tmp_path)
    assert code == 0
    assert "[red]de_psir[/] ?[31m<b>" in out
    assert "Muster" not in out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()[:1].isdigit()}
    assert list(lines) == ["1", "2", "3", "5", "8", "11"]
    assert "localiser" in lines["1"]
    assert "9 x 1" in lines["1"]
    assert "long axis" in lines["2"]
    assert "short-axis cine" in lines["5"]
    assert "6 x 3" in lines["5"]
    assert "9 x 1.25 x 1.25" in lines["5"]
    assert "yes, as cine" in lines["5"]


def test_inspect_says_what_the_user_chose(say: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "psir")
    code, out, _ = say("inspect", tmp_path, "--series", "lge=7")
    assert code == 0
    used = {line.split()[0]: "yes, as lge" in line for line in out.splitlines() if line.strip()[:1].isdigit()}
    assert used == {"5": False, "7": True, "8": False, "11": False}


@pytest.mark.parametrize("text", ["lge", "lge=x", "mr=5", "=5"])
def test_a_choice_that_says_nothing(text: str, say: Callable[..., tuple[int, str, str]], classic: Path) -> None:
    code, _, err = say("inspect", classic, "--series", text)
    assert code == 2
    assert err.startswith("myoscope: ")


def test_inspect_of_nifti(say: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    write_study(tiny_study(), tmp_path)
    code, _, err = say("inspect", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "expected DICOM (a folder, a zip, a file), found none" in err
