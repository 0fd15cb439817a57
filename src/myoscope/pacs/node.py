"""DICOM's own network protocol: take studies (C-STORE SCP), send results (C-STORE SCU)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLETransferSyntaxes,
)
from pynetdicom import AE, DEFAULT_TRANSFER_SYNTAXES, evt
from pynetdicom.events import Event
from pynetdicom.presentation import AllStoragePresentationContexts, VerificationPresentationContexts, build_context
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS
from pynetdicom.transport import ThreadedAssociationServer

from myoscope.errors import InputError
from myoscope.pacs.errors import DiskFullError, NotDicomError, RefusedError, UnreachableError, told
from myoscope.pacs.inbox import Inbox
from myoscope.pacs.settings import Peer, Receive

log = logging.getLogger(__name__)

SUCCESS, OUT_OF_RESOURCES, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000


SYNTAXES = [
    *DEFAULT_TRANSFER_SYNTAXES,
    *JPEGTransferSyntaxes,
    *JPEGLSTransferSyntaxes,
    *JPEG2000TransferSyntaxes,
    *RLETransferSyntaxes,
]
"""Of images; a sender that has another (video, for one) changes it or leaves the instance out."""


def start_receiver(receive: Receive, ae_title: str, inbox: Inbox) -> ThreadedAssociationServer:
    """Take instances of every storage class from the peers that are named.

    Success is returned only for what is on the disk.

    Raises:
        InputError: the port cannot be had.
    """
    node = AE(ae_title)
    node.require_calling_aet = list(receive.accept)
    node.require_called_aet = True
    node.supported_contexts = [
        *VerificationPresentationContexts,
        *(build_context(str(c.abstract_syntax), SYNTAXES) for c in AllStoragePresentationContexts),
    ]
    handlers: list[Any] = [(evt.EVT_C_STORE, _store, [inbox]), (evt.EVT_REJECTED, _rejected)]
    try:
        server = node.start_server((receive.host, receive.port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise InputError(
            f"{receive.host}:{receive.port}: cannot listen there ({error.strerror}); choose another host or port"
        ) from None
    assert server is not None  # because block is False
    return server


def _store(event: Event, inbox: Inbox) -> int:
    try:
        inbox.add(event.encoded_dataset())
    except NotDicomError as error:
        log.warning("instance refused: %s", error)
        return NOT_UNDERSTOOD
    except (DiskFullError, OSError) as error:
        log.warning("instance refused, no space or a failing disk: %s", told(error))
        return OUT_OF_RESOURCES
    return SUCCESS


def _rejected(event: Event) -> None:
    log.warning("association rejected: %r is not called so, or may not send", event.assoc.requestor.ae_title)


def send(peer: Peer, ae_title: str, paths: Sequence[Path]) -> None:
    """Send files by C-STORE.

    Raises:
        UnreachableError: no connection, lost, or the peer is out of resources; try again.
        RefusedError: the peer will not take a file.
    """
    headers = [dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]) for path in paths]
    node = AE(ae_title)
    for kind, syntax in dict.fromkeys((h.SOPClassUID, h.file_meta.TransferSyntaxUID) for h in headers):
        node.add_requested_context(kind, syntax)
    association = node.associate(peer.host, peer.port, ae_title=peer.ae_title)
    if not association.is_established:
        raise UnreachableError(f"no association with {peer.ae_title}")
    try:
        for path, header in zip(paths, headers, strict=True):
            try:
                status = association.send_c_store(path).get("Status")
            except ValueError:  # no presentation context
                raise RefusedError(f"{peer.ae_title} takes no {header.SOPClassUID.name}") from None
            except RuntimeError:
                raise UnreachableError(f"association with {peer.ae_title} lost") from None
            _check(status, peer)
    finally:
        association.release()


def _check(status: int | None, peer: Peer) -> None:
    if status is None:
        raise UnreachableError(f"association with {peer.ae_title} lost")
    if status & 0xFF00 == OUT_OF_RESOURCES:
        raise UnreachableError(f"{peer.ae_title} is out of resources (0x{status:04X})")
    if STORAGE_SERVICE_CLASS_STATUS.get(status, ("Failure", ""))[0] == "Failure":
        raise RefusedError(f"{peer.ae_title} refused the result (0x{status:04X})")
