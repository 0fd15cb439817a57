"""The whole way beside a real archive: a study in, its segmentations and its report in Orthanc, found by query."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

from dicom_writer import NAME, write_dicom
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.pacs.web import connect
from myoscope.study import Role
from pacs_world import c_store, free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
pytestmark = pytest.mark.skipif(
    not (shutil.which("Orthanc") and PLUGIN.exists()),
    reason="Orthanc is not installed (apt-get install orthanc orthanc-dicomweb)",
)


class Orthanc:
    """An archive on loopback, with DICOM and DICOMweb."""

    def __init__(self, folder: Path) -> None:
        self.dicom_port, self.http_port = free_port(), free_port()
        self.web = connect(f"http://127.0.0.1:{self.http_port}/dicom-web")
        self._folder = folder

    @contextmanager
    def open(self) -> Iterator["Orthanc"]:
        settings = self._folder / "orthanc.json"
        settings.write_text(
            json.dumps(
                {
                    "StorageDirectory": str(self._folder / "storage"),
                    "IndexDirectory": str(self._folder / "storage"),
                    "HttpPort": self.http_port,
                    "DicomPort": self.dicom_port,
                    "DicomAet": "ORTHANC",
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "DicomAlwaysAllowStore": True,
                    "DicomAlwaysAllowFind": True,
                    "Plugins": [str(PLUGIN)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                }
            )
        )
        with (self._folder / "orthanc.log").open("w") as log:
            process = subprocess.Popen(["Orthanc", str(settings)], stdout=log, stderr=log)
        try:
            wait_until(self._answers)
            yield self
        finally:
            process.terminate()
            process.wait()

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.http_port}/system"):
                return True
        except URLError:
            return False

    def modalities(self, study: str) -> list[str]:
        """Of the series of a study, by QIDO."""
        return sorted(row["00080060"]["Value"][0] for row in self.web.search_for_series(study))

    def found(self, study: str, modality: str) -> int:
        """How many series of a modality a study has, by C-FIND."""
        asked = Dataset()
        asked.QueryRetrieveLevel, asked.StudyInstanceUID, asked.Modality = "SERIES", study, modality
        asked.SeriesInstanceUID = ""
        node = AE("ASKS")
        node.add_requested_context(Find)
        association = node.associate("127.0.0.1", self.dicom_port, ae_title="ORTHANC")
        answers = [identifier for _, identifier in association.send_c_find(asked, Find) if identifier]
        association.release()
        return len(answers)


def wait_until(done: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc")).open() as running:
        yield running


@contextmanager
def node(folder: Path, settings: str) -> Iterator[Path]:
    """A node as a user starts it; gives its spool."""
    path, spool, log = folder / "node.toml", folder / "spool", folder / "node.log"
    path.write_text(f'spool = "{spool}"\nquiet_seconds = 2\nkeep_free_gb = 0.001\nhealth_port = 0\n{settings}')
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "myoscope.cli", "pacs", str(path)], stderr=file)
    try:
        wait_until(lambda: "health page" in log.read_text())
        yield spool
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert "failed" not in log.read_text()
    assert not any(word in log.read_text() for word in (NAME, "Muster", "Erika", "PID-0815"))


def phantom(folder: Path, seed: int, *roles: Role) -> list[Path]:
    study = draw(sample(seed, KEPT_ASIDE, "MINF"), frames=4).study
    chosen = replace(study, series=tuple(study.get(role) for role in roles))
    return write_dicom(chosen, folder / "study", seed=seed)


def assert_results_arrived(orthanc: Orthanc, study: str, segmentations: int, spool: Path) -> None:
    wait_until(lambda: any((spool / "done").iterdir()) or any((spool / "failed").iterdir()))
    assert [p.read_text() for p in spool.glob("failed/*/reason.txt")] == []
    found = orthanc.modalities(study)
    assert found.count("SR") == orthanc.found(study, "SR") == 1
    assert found.count("SEG") == orthanc.found(study, "SEG") == segmentations
    wait_until(lambda: not list(spool.rglob("*.dcm")))


def test_received_by_c_store_results_sent_by_c_store(orthanc: Orthanc, tmp_path: Path) -> None:
    files, port = phantom(tmp_path, 1001, Role.CINE, Role.LGE), free_port()
    study = dcmread(files[0]).StudyInstanceUID
    with node(
        tmp_path,
        f'send_to = "ORTHANC@127.0.0.1:{orthanc.dicom_port}"\n[receive]\naccept = ["SCANNER"]\nport = {port}\n',
    ) as spool:
        wait_until(lambda: "listens on" in (tmp_path / "node.log").read_text())
        assert c_store(files, port) == [0] * len(files)
        assert_results_arrived(orthanc, study, 2, spool)


def test_watched_by_dicomweb_results_sent_by_dicomweb(orthanc: Orthanc, tmp_path: Path) -> None:
    files = phantom(tmp_path, 1002, Role.LGE)
    study = dcmread(files[0]).StudyInstanceUID
    orthanc.web.store_instances([dcmread(path) for path in files])
    url = orthanc.web.base_url
    with node(tmp_path, f'send_to = "{url}"\n[watch]\nurl = "{url}"\ndays = 36500\npoll_seconds = 0.5\n') as spool:
        assert_results_arrived(orthanc, study, 1, spool)
        time.sleep(3)  # its own results are in the study now, and are nothing new
        assert orthanc.modalities(study).count("SR") == 1
        assert not list(spool.glob("*/*/instances"))
