"""A program's settings: a TOML file, checked whole before anything starts."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from myoscope.errors import InputError
from myoscope.io.nifti import shown

T = TypeVar("T", bound=BaseModel)

_WORDS = {"extra_forbidden": "there is no such setting", "missing": "expected a value, found none"}


def read_toml(path: Path, kind: type[T], page: str) -> T:
    """The settings in a file; `page` of the documentation lists them.

    Raises:
        InputError: it cannot be read, is no TOML, or a setting is unknown, missing or of a wrong kind.
    """
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); give a settings file") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{shown(path)}: expected TOML, found something else ({error}); see {page}") from None
    except UnicodeDecodeError:
        raise InputError(f"{shown(path)}: expected TOML in UTF-8, found other text; see {page}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = shown(".".join(map(str, first["loc"])))
        what = _WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise InputError(f"{shown(path)}: {where}{': ' if where else ''}{what}; see {page}") from None
