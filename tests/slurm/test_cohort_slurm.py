"""A cohort on a real SLURM of one node on loopback, all its daemons started here: `make slurm`, not a part of CI.

Needs Debian's slurm-wlm (munge comes with it), and a user who may start slurmd: root.
"""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohort_world import write_studies

os.environ["PATH"] += os.pathsep + "/usr/sbin"
MISSING = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}; apt-get install slurm-wlm")

CONF = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4096 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _ports() -> list[int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which `sbatch` reaches a cluster of this machine."""
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    folder.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(
        CONF.format(folder=folder, host=host, user=getpass.getuser(), ports=_ports(), cores=os.cpu_count())
    )
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # never used, but slurmd wants one
    env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{name}={folder / file}" for name, file in (
        ("key-file", "munge.key"), ("socket", "munge.sock"), ("pid-file", "munge.pid"),
        ("log-file", "munge.log"), ("seed-file", "seed"),
    )]  # fmt: skip
    running = []
    try:
        for words in (
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-D", "-f", env["SLURM_CONF"]],
            ["slurmd", "-D", "-f", env["SLURM_CONF"]],
        ):
            with (folder / f"{words[0]}.out").open("wb") as said:
                running.append(subprocess.Popen(words, stdout=said, stderr=said, env=env))
            time.sleep(2)
        end = time.monotonic() + 40
        while (
            "idle" not in subprocess.run(["sinfo", "-h"], capture_output=True, text=True, env=env, check=False).stdout
        ):
            if time.monotonic() > end:
                pytest.skip("SLURM does not start here: " + (folder / "slurmd.out").read_text()[-300:])
            time.sleep(0.5)
        yield env
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def test_a_cohort_on_slurm(slurm: dict[str, str], tmp_path: Path) -> None:
    studies, out = write_studies(tmp_path / "in", 3), tmp_path / "out"
    source = Path(__file__).parents[2] / "src"
    (settings := tmp_path / "slurm.toml").write_text(
        f'jobs = 2\nmemory_gb_per_worker = 1.5\nwalltime = "00:20:00"\ninterface = "lo"\n'
        f'log_folder = "{tmp_path / "logs"}"\nprologue = ["export PYTHONPATH={source}"]\n'
    )
    command = [sys.executable, "-m", "myoscope.cli", "cohort", studies, "-o", out, "--slurm", settings]
    done = subprocess.run(map(str, command), capture_output=True, text=True, env=slurm, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 studies done, 0 failed; 3 of them in this run")
    accounts = subprocess.run(["squeue", "-h"], capture_output=True, text=True, env=slurm, check=True).stdout
    assert accounts.strip() == "", "no job stays behind"
    assert list((tmp_path / "logs").glob("myoscope-*.err")), "the jobs were SLURM's"
