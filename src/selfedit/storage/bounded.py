"""Readers of JSON, TOML, gzip and text from files that nobody vouches for: a value, or one clear
error.

Bounded are the bytes (after unpacking), how deep values are nested, and how many digits a number
has, so that nothing behind a reader meets a structure that it would recurse through or a number
that no float holds. What the values *are* is checked by pydantic, in `BoundedReader.shape`.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from selfedit.errors import DataError, FormatError, SelfEditError

MAX_BYTES = 2**28
"""Of a data file, unpacked."""
MAX_ENTRIES = 100_000
"""Below a folder that is read as a whole; a whole disk has millions."""
MAX_DEPTH = 64
MAX_DIGITS = 300
"""Of a whole number: more do not fit into a float."""
_MAX_KEY = 64
_BLOCK = 2**14  # what is left of a block is copied for each member of a gzip file in it
_GZIP = b"\x1f\x8b"
_SHOWN_LETTERS = 3
_LARGEST = 10**MAX_DIGITS
_DEEP = f"nested more than {MAX_DEPTH} deep"
_LONG = f"a number has more than {MAX_DIGITS} digits"

_DOTTED = re.compile(r"""[\w-]+|"[^"\n]*"|'[^'\n]*'|[ \t]+""")
_ENCODINGS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

T = TypeVar("T")


class Unreadable(ValueError):
    """Why a text is no value, and where in it ("line 2, column 17", or nothing)."""

    def __init__(self, reason: str, location: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.location = location


@dataclass(frozen=True)
class BoundedReader:
    """Reads one kind of file.

    Attributes:
        noun: what the file is, as a message begins: "the labels".
        error: the kind of error that is raised, whatever is wrong.
        fix: what the user can do about it.
        max_bytes: the largest file, after unpacking.
        finite: whether NaN and the infinities are refused; JSON itself has no name for them.
        unique: whether a key given twice is refused, because one of the two would be lost.
    """

    noun: str
    error: type[SelfEditError] = FormatError
    fix: str | None = None
    max_bytes: int = MAX_BYTES
    finite: bool = True
    unique: bool = False

    def bytes(self, path: Path) -> bytes:
        """What a file holds; gzip's, whatever it is called, is unpacked."""
        try:
            with path.open("rb") as file:
                packed = path.suffix.lower() == ".gz" or file.peek(2)[:2] == _GZIP
                most = self.max_bytes
                data = _unpacked(file, most) if packed else file.read(most + 1)
        except Unreadable as error:
            raise self.refused(error.reason, path) from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise self.refused(getattr(error, "strerror", None) or str(error), path) from error
        if len(data) > self.max_bytes:
            raise self.refused(f"it has more than {self.max_bytes:,} bytes", path)
        return data

    def text(self, path: Path) -> str:
        """A file's text: UTF-8, or UTF-16 or UTF-32 with a byte order mark."""
        try:
            return decoded(self.bytes(path))
        except Unreadable as error:
            raise self.refused(error.reason, path) from None

    def json(self, path: Path) -> Any:
        """The value of a JSON file."""
        return self.parse_json(self.bytes(path), path)

    def toml(self, path: Path) -> dict[str, Any]:
        """The table of a TOML file."""
        try:
            return toml_table(decoded(self.bytes(path)))
        except Unreadable as error:
            raise self.refused(f"not TOML: {error.reason}", path) from None

    def json_lines(self, text: str, path: Path) -> Iterator[tuple[str, Any]]:
        """The place (``file, line 3``) and the value of each line that is not blank."""
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, self.parse_json(line, where)

    def parse_json(self, text: str | bytes, where: Path | str) -> Any:
        """The value of a JSON text, or of its bytes."""
        try:
            text = decoded(text) if isinstance(text, bytes) else text
            return json_value(text, finite=self.finite, unique=self.unique)
        except Unreadable as error:
            location = (
                error.location if isinstance(where, Path) else error.location.partition(", ")[2]
            )
            raise self.refused(
                error.reason, f"{where}, {location}" if location else where
            ) from None

    def shape(self, value: Any, form: type[T], where: object) -> T:
        """A value as a pydantic model, a dataclass, or any other type that pydantic checks."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(form).validate_python(value)
        except ValidationError as error:
            places = [
                (".".join(map(str, each["loc"])), each["msg"])
                for each in error.errors()[:_SHOWN_LETTERS]
            ]
            raise self.refused(
                "; ".join(f"{name}: {what}" if name else what for name, what in places), where
            ) from None

    def refused(self, reason: str, where: object) -> SelfEditError:
        """The error that says why."""
        return self.error(f"{self.noun} cannot be read: {reason}", where=where, fix=self.fix)


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; a name that no file can have is no error."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """The regular files of these names in a folder and below it, sorted; pipes and devices, which
    could be read for ever, are none.

    Raises:
        DataError: there is more than anybody's data below it.
    """
    files: list[Path] = []
    for number, path in enumerate(folder.rglob("*"), start=1):
        if number > MAX_ENTRIES:
            what = f"there are more than {MAX_ENTRIES:,} files and folders below this one"
            raise DataError(what, where=folder, fix="give a folder with nothing else in it")
        if path.match(pattern) and os.path.isfile(path):  # noqa: PTH113 - False without the right
            files.append(path)
    return sorted(files)


def decoded(data: bytes) -> str:
    """The text of bytes, by their byte order mark or else as UTF-8.

    Raises:
        Unreadable: they are in another encoding.
    """
    name = next((name for mark, name in _ENCODINGS if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(name)
        if data and not text and name != "utf-8-sig":
            raise Unreadable("there is nothing behind its byte order mark")
        return text
    except UnicodeDecodeError as error:
        offset = (
            error.start + len(data) - len(error.object)
        )  # the decoder counts from behind the mark
        encoding_name = "UTF-8" if name == "utf-8-sig" else name.upper()
        raise Unreadable(
            f"not valid {encoding_name} (byte {offset}): save it as UTF-8", f"byte {offset}"
        ) from None


def json_value(text: str, *, finite: bool = True, unique: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: the text.
        finite: refuse NaN and the infinities.
        unique: refuse a key that is given twice.

    Raises:
        Unreadable: it is not JSON, or over a bound of this module.
    """
    hooks: dict[str, Any] = {"parse_int": _whole, "object_pairs_hook": _unique if unique else None}
    if finite:
        hooks |= {"parse_float": _finite, "parse_constant": _no_constant}
    try:
        value = json.loads(text, **hooks)
    except RecursionError:
        raise Unreadable(f"the JSON is {_DEEP}") from None
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"not valid JSON: {error.msg}", f"line {error.lineno}, column {error.colno}"
        ) from None
    _check_bounds(value, "the JSON is ")
    return value


def toml_table(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        Unreadable: it is not TOML, or over a bound of this module.
    """
    if "." * _MAX_KEY in _DOTTED.sub(
        "", text
    ):  # Python's reader takes time with the square of a key's parts
        raise Unreadable(f"a key has more than {_MAX_KEY} parts")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise Unreadable(_DEEP) from None
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(str(error)) from None
    except ValueError:  # Python's own limit on the digits it turns into a number
        raise Unreadable(_LONG) from None
    _check_bounds(table, "")
    return table


def are_lines(text: str) -> bool:
    """Whether a text is JSON lines: its first one is an object by itself."""
    try:
        return "\n" in text and isinstance(json_value(text.lstrip().partition("\n")[0]), dict)
    except Unreadable:
        return False


def _unpacked(file: BinaryIO, most: int) -> bytes:
    """The members of a gzip file, one after the other; a byte more than ``most`` at the most."""
    data, packed = bytearray(), file.read(_BLOCK)
    inflate, complete = zlib.decompressobj(wbits=31), False
    try:
        while packed and len(data) <= most:
            data += inflate.decompress(packed, most + 1 - len(data))
            complete = inflate.eof
            if complete:
                packed = (inflate.unused_data or file.read(_BLOCK)).lstrip(b"\0")
                inflate = zlib.decompressobj(wbits=31)
            else:
                packed = inflate.unconsumed_tail or file.read(_BLOCK)
    except zlib.error as error:
        raise Unreadable(f"no whole gzip file ({error})") from None
    if not complete and len(data) <= most:
        raise Unreadable("the gzip file is cut short")
    return bytes(data)


def _check_bounds(value: Any, subject: str) -> None:
    """Refuse what is nested too deeply for code that recurses, and numbers that no float holds."""
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise Unreadable(f"{subject}{_DEEP}")
            waiting += [
                (child, depth + 1) for child in (item.values() if isinstance(item, dict) else item)
            ]
        elif isinstance(item, int) and abs(item) >= _LARGEST:
            raise Unreadable(_LONG)


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Unreadable(_LONG)
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Unreadable(f"the number {digits[:20]} is too large")
    return value


def _no_constant(name: str) -> float:
    raise Unreadable(f"not valid JSON: {name}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Unreadable(f"the key {twice!r} is given twice")
    return record
