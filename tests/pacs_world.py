"""What stands around a node in its tests: tiny instances, a scanner that sends, an archive that takes, free ports."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.transport import AssociationSocket

ROOT = "1.2.826.0.1.3680043.10.543"
"""UIDs of tests; a study is ROOT.1.1NNNN, which the stand-in for the analysis finds in the file's bytes."""

STUDY, RESULT = f"{ROOT}.1.1{{:04}}", f"{ROOT}.2.1{{:030}}"


def instance(study: int = 1, number: int = 1, modality: str = "MR", name: str = "Muster^Erika") -> Dataset:
    """A small MR image without any use but to be sent."""
    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID = MRImageStorage, f"{ROOT}.3.{study}.{number}"
    d.StudyInstanceUID, d.SeriesInstanceUID = STUDY.format(study), f"{ROOT}.4.{study}"
    d.Modality, d.PatientName, d.PatientID = modality, name, "PID-0815"
    d.Rows = d.Columns = 2
    d.BitsAllocated = d.BitsStored = 8
    d.HighBit, d.PixelRepresentation, d.SamplesPerPixel, d.PhotometricInterpretation = 7, 0, 1, "MONOCHROME2"
    d.PixelData = bytes(4)
    return _with_meta(d)


def result() -> Dataset:
    """A small structured report that the stand-in for the analysis copies with UIDs of its own."""
    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID = BasicTextSRStorage, RESULT.format(0)
    d.StudyInstanceUID, d.SeriesInstanceUID = STUDY.format(0), f"{ROOT}.5"
    d.Modality, d.ValueType, d.CompletionFlag, d.VerificationFlag = "SR", "CONTAINER", "COMPLETE", "UNVERIFIED"
    return _with_meta(d)


def _with_meta(d: Dataset) -> Dataset:
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
    return d


def encoded(d: Dataset) -> bytes:
    """A data set as a DICOM file."""
    data = BytesIO()
    dcmwrite(data, d, enforce_file_format=True)
    return data.getvalue()


def c_store(datasets: Iterable[Dataset | Path], port: int, sender: str = "SCANNER", to: str = "MYOSCOPE") -> list[int]:
    """Send in one association; gives the statuses that were answered, none if there was no association."""
    scanner = AE(sender)
    for kind in (MRImageStorage, BasicTextSRStorage):
        scanner.add_requested_context(kind, ExplicitVRLittleEndian)
    at_once = [(evt.EVT_CONN_OPEN, _without_delay)]
    association = scanner.associate("127.0.0.1", port, ae_title=to, evt_handlers=at_once)
    if not association.is_established:
        return []
    answers: list[int] = []
    try:
        for d in datasets:
            status = association.send_c_store(d).get("Status")
            if status is None:
                break
            answers.append(status)
    except RuntimeError:  # the association was lost
        pass
    finally:
        association.release()
    return answers


def close_refused_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """pynetdicom 3.0.4 forgets the socket of a connection that was refused, which is an error in tests: close it."""
    shut_down = AssociationSocket._shutdown_socket

    def close(self: AssociationSocket) -> None:
        shut_down(self)
        if self.socket:
            self.socket.close()

    monkeypatch.setattr(AssociationSocket, "_shutdown_socket", close)


def _without_delay(event: Event) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Archive:
    """A peer that takes everything and counts what it took: by study, how often each SOP Instance UID."""

    def __init__(self, answer: Callable[[Dataset], int] = lambda _: 0) -> None:
        self.taken: dict[str, Counter[str]] = {}
        self._answer = answer
        self._lock = threading.Lock()

    @contextmanager
    def open(self, port: int = 0) -> Iterator[int]:
        """Listen; gives the port."""
        node = AE("ARCHIVE")
        node.add_supported_context(BasicTextSRStorage, ExplicitVRLittleEndian)
        server = node.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        assert server is not None
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()

    def _store(self, event: Event) -> int:
        d = event.dataset
        status = self._answer(d)
        if status == 0:
            with self._lock:
                self.taken.setdefault(d.StudyInstanceUID, Counter())[d.SOPInstanceUID] += 1
        return status


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def command(folder: Path) -> tuple[str, ...]:
    """The `analysis_command` of the stand-in, `pacs_stand_in.py`; its template is written into a folder."""
    template = folder / "template.dcm"
    template.write_bytes(encoded(result()))
    stand_in = Path(__file__).with_name("pacs_stand_in.py")
    return ("{python}", "-I", "-S", str(stand_in), str(template), "{study}", "{out}")
