"""A phantom analysed (its generator's labels in the network's place), and `myoscope review` on it as a process."""

import atexit
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from dicom_results import SHA256, measured, phantom
from dicom_writer import write_dicom as send
from myoscope.io.read import read_study
from myoscope.io.record import NAME as STUDY
from myoscope.io.save import write_study


def analysed(folder: Path, dicom: bool = False) -> Path:
    """Write the phantom and what an analysis would leave; gives OUT. Three phases, seven slices; cine, LGE, T2."""
    kept = _once(dicom)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    record = folder / "out" / STUDY
    record.write_text(record.read_text().replace(str(kept), str(folder)))  # where the images lie
    return folder / "out"


@cache
def _once(dicom: bool) -> Path:
    folder, case = Path(tempfile.mkdtemp()), phantom()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if dicom:
        send(case.study, folder / "study", "classic")
    else:
        write_study(case.study, folder / "study")
    result = measured(read_study(folder / "study"), case)
    assert any(origin.weights_sha256 == SHA256 for origin in result.measurements.provenance.series)
    result.save(folder / "out")
    return folder


def labels_on_disk(out: Path, role: str = "cine") -> np.ndarray:
    """A label map as it lies on disk: (x, y, z[, t])."""
    return np.asarray(nib.load(out / "segmentations" / f"{role}_seg.nii.gz").dataobj)


@dataclass
class Server:
    """A running `myoscope review`."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.split(":")[2].split("/")[0])

    @property
    def token(self) -> str:
        return self.address.split("#")[1]

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """One request as the page would send it; `headers` overrule (None takes one away)."""
        own = {"Host": f"127.0.0.1:{self.port}", "Origin": f"http://127.0.0.1:{self.port}", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        for name, value in {**own, **({"Content-Length": str(len(data))} if data else {})}.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(data or None)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if "json" in kind and text else text, dict(answer.headers)

    def enter(self, tab: str = "one") -> dict[str, str]:
        """Exchange the token; gives the headers that the page sends from then on."""
        status, said, _ = self.ask("POST", "/api/enter", {"token": self.token})
        assert status == 200, said
        return {"X-Myoscope-Key": said["key"], "X-Myoscope-Tab": tab}


@contextmanager
def serving(out: Path, *options: str) -> Iterator[Server]:
    """Run `myoscope review OUT`; ended with Ctrl-C's signal, and then it must end well."""
    command = [sys.executable, "-m", "myoscope.cli", "review", str(out), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.stderr.read()
        yield Server(process, address)
        if process.poll() is None:
            process.send_signal(2)
            assert process.wait(20) == 0
            assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
