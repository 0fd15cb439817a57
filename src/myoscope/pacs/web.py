"""DICOMweb: find studies (QIDO-RS), fetch them (WADO-RS), send results (STOW-RS)."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom import dcmread, dcmwrite
from requests import ConnectionError, HTTPError, RequestException, Timeout
from requests.exceptions import SSLError

from myoscope.pacs.errors import NotDicomError, RefusedError, UnreachableError, told
from myoscope.pacs.inbox import NOT_IMAGES, Inbox, name_of
from myoscope.pacs.settings import Watch

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 60

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_MODALITY, _MODALITIES, _COUNT = "00080060", "00080061", "00201208"


def connect(url: str) -> DICOMwebClient:
    """A client that neither waits for ever nor tries again by itself; a password comes from ~/.netrc."""
    client = DICOMwebClient(url, timeout=TIMEOUT_SECONDS)
    client.set_http_retry_params(retry=False)
    return client


def send(url: str, paths: Sequence[Path]) -> None:
    """Send files by STOW-RS.

    Raises:
        UnreachableError: no connection, or the server has trouble; try again.
        RefusedError: the server will not take them.
    """
    try:
        answer = connect(url).store_instances([dcmread(path) for path in paths])
    except HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (400, 409, 415):
            raise RefusedError(f"the DICOMweb server refused the result (HTTP {status})") from None
        raise UnreachableError(f"the DICOMweb server answered HTTP {status}") from None
    except RequestException as error:
        raise UnreachableError(f"no answer from the DICOMweb server ({_why(error)})") from None
    failed = answer.get("FailedSOPSequence") or []
    if failed:
        reason = failed[0].get("FailureReason", 0)
        raise RefusedError(f"the DICOMweb server refused {len(failed)} of {len(paths)} results (0x{reason:04X})")


@dataclass
class Watcher:
    """Looks for studies that have images the inbox does not know, and fetches each whole once it stopped growing."""

    watch: Watch
    quiet_seconds: float
    inbox: Inbox
    _counts: dict[str, Any] = field(default_factory=dict)
    """How many instances a study had, as the server counts, when nothing of it was missing here."""
    _growing: dict[str, tuple[frozenset[tuple[str, str]], float]] = field(default_factory=dict)
    """The instances that a study had when it was last seen to change, and when that was."""

    def poll(self) -> None:
        """Look once; a study that cannot be fetched does not keep others from it.

        Raises:
            UnreachableError: the server cannot be asked.
            DiskFullError: no space to fetch more.
        """
        client = connect(self.watch.url)
        since = date.today() - timedelta(days=self.watch.days - 1)
        try:
            asked = {"StudyDate": f"{since:%Y%m%d}-"}  # not the modality: with it Orthanc 1.10 forgets the offset
            found = _all(lambda offset: client.search_for_studies(search_filters=asked, offset=offset), _STUDY)
        except (RequestException, ValueError) as error:
            raise UnreachableError(f"no answer from the DICOMweb server ({_why(error)})") from None
        for uid, row in found.items():
            count = _value(row, _COUNT)
            if "MR" not in row.get(_MODALITIES, {}).get("Value", ["MR"]) or (count and self._counts.get(uid) == count):
                continue
            try:
                if self._follow(client, uid):
                    self._counts[uid] = count
            except RequestException as error:
                log.warning("study %s cannot be fetched, tried again later: %s", name_of(uid), _why(error))
            except (NotDicomError, ValueError, IndexError) as error:
                log.warning("study %s cannot be fetched, tried again later: %s", name_of(uid), told(error))

    def _follow(self, client: DICOMwebClient, uid: str) -> bool:
        """Fetch a study if it has something new and is quiet; whether nothing of it is missing here."""
        there = _images(client, uid)
        study, now = name_of(uid), time.monotonic()
        if {name_of(instance) for _, instance in there} <= self.inbox.known(study):
            self._growing.pop(uid, None)
            return True
        before, since = self._growing.get(uid, (None, now))
        if before != there:
            self._growing[uid] = (there, now)
            return False
        if now - since < self.quiet_seconds:
            return False
        have = self.inbox.names("fetching", study)
        for series, instance in sorted(there):
            if name_of(instance) not in have:
                data = BytesIO()
                dcmwrite(data, client.retrieve_instance(uid, series, instance), enforce_file_format=True)
                self.inbox.add(data.getvalue(), "fetching", (study, name_of(instance)))
        self.inbox.fetched(study)
        del self._growing[uid]
        return True


def _why(error: Exception) -> str:
    """What went wrong with a server, in words that quote nothing."""
    if isinstance(error, HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    kinds = {SSLError: "its certificate is not trusted", Timeout: "it took too long", ConnectionError: "no connection"}
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), "what it says is not DICOMweb")


def _images(client: DICOMwebClient, uid: str) -> frozenset[tuple[str, str]]:
    """Series and instance UIDs of a study's images."""
    found = set()
    series = _all(lambda offset: client.search_for_series(uid, offset=offset), _SERIES)
    for one in (one for one, row in series.items() if _value(row, _MODALITY) not in NOT_IMAGES):
        instances = _all(partial(_instances, client, uid, one), _INSTANCE)
        found |= {(one, instance) for instance in instances}
    return frozenset(found)


def _instances(client: DICOMwebClient, study: str, series: str, offset: int) -> list[dict[str, Any]]:
    return client.search_for_instances(study, series, offset=offset)


def _all(search: Callable[[int], list[dict[str, Any]]], tag: str) -> dict[str, dict[str, Any]]:
    """All pages of an answer, by UID; ends with a page that has nothing new, for some servers ignore the offset."""
    found: dict[str, dict[str, Any]] = {}
    while new := {uid: row for row in search(len(found)) if (uid := _value(row, tag)) and uid not in found}:
        found |= new
    return found


def _value(row: dict[str, Any], tag: str) -> Any:
    return next(iter(row.get(tag, {}).get("Value", [])), None)
