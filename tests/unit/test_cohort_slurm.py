"""The job that would be submitted to SLURM, and settings that cannot be."""

from pathlib import Path

import psutil
import pytest

from myoscope.cohort.cluster import client_of, read_slurm, slurm_cluster
from myoscope.errors import InputError

SETTINGS = """
jobs = 4
workers_per_job = 8
memory_gb_per_worker = 3
walltime = "1-02:00:00"
queue = "short"
account = "heart"
interface = "lo"
directives = ["--constraint=avx2"]
skip_directives = ["--mem"]
prologue = ["module load python"]
"""


def test_the_job_script_asks_for_what_the_settings_say(tmp_path: Path) -> None:
    (path := tmp_path / "slurm.toml").write_text(SETTINGS)
    with slurm_cluster(read_slurm(path)) as cluster:
        script = cluster.job_script().splitlines()
    asked = {line for line in script if line.startswith("#SBATCH")}
    assert asked >= {
        "#SBATCH -J myoscope",
        "#SBATCH -p short",
        "#SBATCH -A heart",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH -t 1-02:00:00",
        "#SBATCH --constraint=avx2",
    }
    assert not any("--mem" in line for line in asked) and "module load python" in script
    (worker,) = (line for line in script if "dask_worker" in line)
    assert "--nworkers 8" in worker and "--nthreads 1" in worker and "--interface lo" in worker


@pytest.mark.parametrize(
    ("text", "found"),
    [("jobs = 0", "greater than or equal to 1"), ("queue = 'x'", "jobs"), ("jobs = 1\nspeed = 2", "speed"),
     ("jobs = ", "expected TOML"), ("jobs = 1\nwalltime = '8h'", "walltime")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(tmp_path: Path, text: str, found: str) -> None:
    (path := tmp_path / "slurm.toml").write_text(text)
    with pytest.raises(InputError, match=found):
        read_slurm(path)


def test_a_local_cluster_listens_on_loopback_only() -> None:
    with client_of(workers=2):
        listening = [c.laddr.ip for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN]
    assert set(listening) <= {"127.0.0.1", "::1"}
