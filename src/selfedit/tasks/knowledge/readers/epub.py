"""An EPUB book's text: its chapters in the order of its spine."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from urllib.parse import unquote

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - it has no stubs

from selfedit.tasks.knowledge.readers.archive import check_archive
from selfedit.tasks.knowledge.readers.extracted import CannotRead, Extracted, lines_as_text
from selfedit.tasks.knowledge.readers.web import page_markdown

_CONTAINER = "META-INF/container.xml"
_DAMAGED = "save or download it anew"
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


def markdown(data: bytes) -> Extracted:
    """The text of all chapters."""
    archive = check_archive(data)
    if _is_locked(archive):
        raise CannotRead("it is locked (DRM)", "give a copy without it")
    text = lines_as_text(page_markdown(_entry(archive, name))[0] for name in _chapters(archive))
    if not text:
        raise CannotRead("there is no text in it: its pages are pictures", "recognise the text")
    return Extracted(text)


def _chapters(archive: zipfile.ZipFile) -> Iterator[str]:
    root = _xml(archive, _CONTAINER).find(".//{*}rootfile")
    package_name = "" if root is None else root.get("full-path", "")
    package = _xml(archive, package_name)
    hrefs = {item.get("id"): item.get("href", "") for item in package.iterfind(".//{*}item")}
    for reference in package.iterfind(".//{*}itemref"):
        if href := hrefs.get(reference.get("idref")):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(package_name), unquote(href)))


def _is_locked(archive: zipfile.ZipFile) -> bool:
    """Whether more is encrypted than fonts."""
    if "META-INF/encryption.xml" not in archive.namelist():
        return False
    methods = _xml(archive, "META-INF/encryption.xml").iterfind(".//{*}EncryptionMethod")
    return any(method.get("Algorithm") not in _FONTS for method in methods)


def _xml(archive: zipfile.ZipFile, name: str) -> etree._Element:
    # No entity is resolved and nothing is fetched, whatever the file declares.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(_entry(archive, name), parser)
    except etree.XMLSyntaxError as error:
        raise CannotRead(f"it is damaged: {name}: {error}", _DAMAGED) from None


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (KeyError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise CannotRead(
            f"it is damaged: {name or 'its list of chapters'}: {error}", _DAMAGED
        ) from None
