"""What a node is told: one TOML file, checked whole before anything starts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    model_validator,
)

from myoscope.settings import read_toml


@dataclass(frozen=True)
class Peer:
    """Another node, to which results are sent by C-STORE."""

    ae_title: str
    host: str
    port: int


def _ae_title(text: str) -> str:
    if not re.fullmatch(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?", text):
        raise ValueError(f"expected an AE title of 1 to 16 ASCII characters, found {text!r}")
    return text


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", text):
        raise ValueError("expected http(s)://HOST[:PORT]/PATH, without a user and password (they go to ~/.netrc)")
    return text.rstrip("/")


def _target(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if "://" in value:
        return _url(value)
    match = re.fullmatch(r"([^@]+)@\[?([^@\s\]]+)\]?:(\d{1,5})", value)
    if not match or not 0 < int(match[3]) < 65536:
        raise ValueError(f"expected AETITLE@HOST:PORT or a DICOMweb address http(s)://..., found {value!r}")
    return Peer(_ae_title(match[1]), match[2], int(match[3]))


AETitle = Annotated[str, AfterValidator(_ae_title)]
Url = Annotated[str, AfterValidator(_url)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Receive(_Frozen):
    """Take studies by C-STORE."""

    accept: Annotated[tuple[AETitle, ...], Field(min_length=1)]
    """Who may send; everybody else's association is rejected."""
    host: str = "127.0.0.1"
    port: Port = 11112


class Watch(_Frozen):
    """Look for studies on a DICOMweb server (QIDO-RS) and fetch them (WADO-RS)."""

    url: Url
    days: Annotated[int, Field(ge=1)] = 2
    """How far back the StudyDate of what is looked for may lie; 1 is today only."""
    poll_seconds: PositiveFloat = 30


class Settings(_Frozen):
    """All of a node; `docs/pacs.md` tells what each is for."""

    spool: Path
    send_to: Annotated[Peer | str, BeforeValidator(_target)]
    receive: Receive | None = None
    watch: Watch | None = None
    ae_title: AETitle = "MYOSCOPE"
    quiet_seconds: PositiveFloat = 300
    keep_free_gb: PositiveFloat = 5
    time_limit_minutes: PositiveFloat = 30
    health_port: Port = 8104
    analysis_command: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "{python}", "-m", "myoscope.cli", "analyze", "{study}", "-o", "{out}",
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_source(self) -> "Settings":
        if bool(self.receive) == bool(self.watch):
            raise ValueError(f"expected a table [receive] or [watch], found {'both' if self.watch else 'neither'}")
        return self


def read_settings(path: Path) -> Settings:
    """Read a node's settings.

    Raises:
        InputError: no such file, not TOML, or a value that cannot be.
    """
    return read_toml(path, Settings, "docs/pacs.md")
