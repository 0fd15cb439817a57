import json
import runpy
import subprocess
from pathlib import Path

import pytest

QUEUE = Path(__file__).parents[2] / "benchmarks" / "training_queue.py"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch):
    if not QUEUE.exists():
        pytest.skip("the benchmarks are not here")
    found = runpy.run_path(str(QUEUE))
    monkeypatch.setitem(found["start"].__globals__, "LOWEST", 'exec "$@"')  # on a busy machine the lowest waits long
    return found


def test_trainings_have_the_lowest_priority() -> None:
    if not QUEUE.exists():
        pytest.skip("the benchmarks are not here")
    said = subprocess.run(
        ["sh", "-c", runpy.run_path(str(QUEUE))["LOWEST"], "sh", "nice"],
        capture_output=True,
        start_new_session=True,
        check=True,
    )
    assert said.stdout == b"19\n"


def test_queue_goes_on_where_it_was_and_logs(queue, tmp_path: Path) -> None:
    jobs, log = tmp_path / "jobs", tmp_path / "log.csv"
    jobs.write_text("# notes\nmodels --no-such-option\n--version\n")
    (tmp_path / "jobs.done").write_text("20:00 0 --version\n")
    queue["work"](jobs, log, poll_s=0.05)
    assert [line[6:] for line in (tmp_path / "jobs.done").read_text().splitlines()] == [
        "0 --version",
        "2 models --no-such-option",
    ]
    assert "no-such-option" in (tmp_path / "jobs.log").read_text()
    assert not log.exists()


def test_pause_stops_the_trainings(queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = tmp_path / "jobs"
    jobs.write_text("--version\n")
    (tmp_path / "jobs.pause").touch()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            assert not (tmp_path / "jobs.log").exists()  # nothing was started
            (tmp_path / "jobs.pause").unlink()

    monkeypatch.setattr(queue["time"], "sleep", nap)
    queue["work"](jobs, tmp_path / "log.csv")
    assert len(naps) > 3
    assert (tmp_path / "jobs.done").read_text().endswith(" 0 --version\n")


def test_rows_of_the_log_come_from_the_cards(queue, tmp_path: Path) -> None:
    weights = [tmp_path / f"fold-{k}.safetensors" for k in (1, 2)]
    for k, path in enumerate(weights):
        card = {"system": "compact-cine", "split": f"{k}", "minutes": 60, "steps": 36000, "commit": "abc"}
        path.with_suffix(".json").write_text(json.dumps(card))
    queue["write_rows"](tmp_path / "log.csv", weights, 180.0)
    head, first, second = (tmp_path / "log.csv").read_text().splitlines()
    assert head == "ended,system,split,minutes,steps,wall_minutes,commit"
    assert first.endswith(",compact-cine,0,60,36000,90.0,abc")
    assert second.endswith(",compact-cine,1,60,36000,90.0,abc")
