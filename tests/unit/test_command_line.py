"""The command line as a newcomer meets it: completion, the README's list, an installation that says what it does."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from myoscope.cli import app

ROOT = Path(__file__).parents[2]


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^myoscope (\w+)", text, re.MULTILINE))
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    for group in app.registered_groups:
        found = group.typer_instance.registered_commands if group.typer_instance else []
        names += [command.name or command.callback.__name__ for command in found if command.callback]
    assert len(names) > 10 and set(names) <= listed


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    program = tmp_path / "myoscope"
    program.write_text(f"#!{sys.executable}\nfrom myoscope.cli import main\nmain()\n")
    program.chmod(0o755)

    def complete(words: str) -> str:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_MYOSCOPE_COMPLETE": "complete_bash"}
        return subprocess.run(
            [program], env=os.environ | asked, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    assert complete("myoscope an").split() == ["analyze"]
    assert complete("myoscope analyze --ni").split() == ["--nifti"]
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--install-completion" in said


@pytest.mark.skipif(shutil.which("make") is None, reason="no make; apt-get install make")
def test_make_demo_says_what_pip_does(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    said = subprocess.run(["make", "-n", "demo"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "Installing myoscope" in said and "pip install" in said and "--quiet" not in said


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["--version"], ["models"], ["schema"]])
def test_help_and_lists_do_not_wait_for_torch(arguments: list[str]) -> None:
    code = (
        "import sys, myoscope.cli\n"
        f"sys.argv = ['myoscope', *{arguments}]\n"
        "try:\n    myoscope.cli.main()\n"
        "except SystemExit as stopped:\n    assert not stopped.code, stopped.code\n"
        "slow = {'torch', 'torchvision', 'monai', 'sklearn'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
