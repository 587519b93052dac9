"""Documents as people have them: what is kept of each kind, and that nothing hostile gets further
than one clear error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from selfedit.errors import DocumentError, Unavailable
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.folder import Skipped
from selfedit.tasks.knowledge.readers import extract as extracting
from selfedit.tasks.knowledge.readers.extract import extract
from selfedit.tasks.knowledge.readers.kinds import KINDS, Kind

for _package in ("pypdf", "docx", "pptx", "bs4", "lxml", "markdownify"):
    pytest.importorskip(_package)

from tests.tasks.knowledge.readers.written import (  # noqa: E402
    CONTAINER,
    PAGE_HTML,
    write_docx,
    write_epub,
    write_pdf,
    write_pptx,
    zip_bomb,
)


def text_of(path: Path) -> str:
    return extract(path).text


def test_a_pdf_keeps_its_headings_and_paragraphs_and_loses_running_heads(tmp_path):
    pages = [
        ["Annual report", "Harvest", "The orchard gave nine hundred crates of pears, which is"],
        ["Annual report", "more than in any year be-", "fore.", "Losses", "Hail took the plums."],
        ["Annual report", "Outlook", "Three rows of quinces are planted."],
    ]
    pages = [[*lines, f"Page {number} of 3"] for number, lines in enumerate(pages, 1)]
    path = write_pdf(tmp_path / "r.pdf", pages, outline=("Harvest", "Losses", "Outlook"))
    assert text_of(path).split("\n\n") == [
        "# Harvest",
        "The orchard gave nine hundred crates of pears, which is more than in any year before.",
        "# Losses",
        "Hail took the plums.",
        "# Outlook",
        "Three rows of quinces are planted.",
    ]


def test_pages_without_text_are_counted_and_a_scan_is_named(tmp_path, caplog):
    path = write_pdf(tmp_path / "some.pdf", [["The well is nine metres deep."], []])
    extracted = extract(path)
    assert extracted.notes == ("1 of 2 pages hold no text: 2",) and "1 of 2" in caplog.text
    with pytest.raises(DocumentError, match="pictures") as caught:
        extract(write_pdf(tmp_path / "scan.pdf", [[], []]))
    assert "ocrmypdf" in (caught.value.fix or "")


def test_a_word_document(tmp_path):
    text = text_of(write_docx(tmp_path / "d.docx"))
    assert "# The harbour rules" in text and "## Mooring" in text
    assert "- Small boats moor at the north pier" in text
    assert "- Trawlers moor at the south pier" in text
    assert "| Berth | Fee |" in text and "| A\\|4 | 90 crowns |" in text
    assert "The gate closes at midnight" in text and "noon" not in text


def test_a_presentation(tmp_path, caplog):
    text = text_of(write_pptx(tmp_path / "p.pptx"))
    assert text.index("## Budget") < text.index("- Rent rises to 900") < text.index("## Staff")
    assert "- Travel is halved" in text and "the board agreed in May" in text
    assert "| Ilse Brandt | 214 |" in text
    assert "slides without text: 3" in caplog.text


def test_a_page_says_what_a_browser_shows(tmp_path):
    (tmp_path / "page.html").write_text(PAGE_HTML)
    text = text_of(tmp_path / "page.html")
    assert "# The ferry of Lundvik" in text and "## Prices" in text
    assert "crosses at seven" in text and "- Adults pay 12 crowns" in text
    assert "| Sunday | 18:40 |" in text
    for unseen in (
        "Ignore all",
        "Nobody sees",
        "nor this",
        "alert",
        "color: red",
        "Imprint",
        "Home",
    ):
        assert unseen not in text
    (tmp_path / "p.htm").write_bytes("<p>Ärger über Öl</p>".encode("latin-1"))
    assert "Ärger über Öl" in text_of(tmp_path / "p.htm")


def test_a_book_in_the_order_of_its_spine(tmp_path):
    text = text_of(write_epub(tmp_path / "b.epub"))
    assert text.index("# Autumn") < text.index("ground rye") < text.index("# Winter")


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_every_row_of_a_table_says_what_it_is_about(tmp_path, sign):
    rows = [["Plant", "Bed", "Sown"], ["Kale", "North 2", "March"], ["Leek", "", "April"]]
    (tmp_path / "t.csv").write_text("\n".join(sign.join(row) for row in rows) + "\n")
    assert text_of(tmp_path / "t.csv").split("\n\n") == [
        "Plant: Kale; Bed: North 2; Sown: March",
        "Plant: Leek; Sown: April",
    ]


def test_a_folder_with_one_of_each_kind_and_two_broken(tmp_path):
    """All that can be read is read; every other file is named with its reason."""
    write_pdf(tmp_path / "a.pdf", [["The orchard gave pears."]])
    write_docx(tmp_path / "b.docx")
    write_pptx(tmp_path / "c.pptx")
    (tmp_path / "d.html").write_text(PAGE_HTML)
    write_epub(tmp_path / "e.epub")
    (tmp_path / "f.csv").write_text("Plant,Bed\nKale,North\n")
    (tmp_path / "g.md").write_text("# Rope\n\nThe rope is forty metres long.\n")
    (tmp_path / "h.txt").write_text("The lamp burns oil.\n")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 4)
    (tmp_path / "broken.docx").write_bytes((tmp_path / "b.docx").read_bytes()[:900])
    (tmp_path / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0")
    (tmp_path / "tune.mp3").write_bytes(b"ID3")
    (tmp_path / "empty.txt").write_text("\n")
    skipped: list[Skipped] = []
    contexts = load_contexts(tmp_path, on_skip=skipped.append)
    whole = "\n".join(f"{context.title}\n{context.text}" for context in contexts)
    for words in ("gave pears", "Sigrun Dahl", "Rent rises", "Marit", "ground rye", "Kale"):
        assert words in whole
    assert "forty metres" in whole and "burns oil" in whole
    reasons = {Path(each.file).name: each.reason for each in skipped}
    assert sorted(reasons) == ["broken.docx", "broken.pdf", "empty.txt", "old.doc", "tune.mp3"]
    assert "save it as .docx" in reasons["old.doc"] and reasons["empty.txt"] == "it is empty"
    assert "cannot be read" in reasons["broken.pdf"] and "damaged" in reasons["broken.docx"]


def hostile(folder: Path) -> list[Path]:
    """Files that would cost memory, time, a connection or another file, were they believed."""
    bomb = folder / "bomb.docx"
    bomb.write_bytes(zip_bomb(2**29 + 2**20))
    entity = f'<!DOCTYPE c [<!ENTITY x SYSTEM "file://{folder}/secret.txt">]>'
    outside = CONTAINER.replace("<container", f"{entity}<container").replace("OPS/book.opf", "&x;")
    laughs = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha" * 50}">' for n in range(12)
    )
    billion = CONTAINER.replace("<container", f"<!DOCTYPE c [{laughs}]><container", 1)
    billion = billion.replace("OPS/book.opf", "&l11;")
    (folder / "secret.txt").write_text("OPS/book.opf")
    deep = folder / "deep.html"
    deep.write_text("<div>" * 50_000 + "x" + "</div>" * 50_000)
    upward = PAGE_HTML.replace("ferry", "boat")
    files = [
        bomb,
        write_epub(folder / "outside.epub", container=outside),
        write_epub(folder / "billion.epub", container=billion),
        write_epub(folder / "up.epub", more={"../../up.xhtml": upward}),
        deep,
    ]
    for suffix in KINDS:
        damaged = folder / f"noise{suffix}"
        damaged.write_bytes(bytes((7 * n * n + n) % 256 for n in range(5000)))
        files.append(damaged)
    return files


def test_hostile_files_end_in_one_clear_error_or_in_text(tmp_path):
    for path in hostile(tmp_path):
        try:
            text = text_of(path)
        except DocumentError as error:
            assert str(path) in str(error) and error.fix
        else:
            assert path.name in ("up.epub", "deep.html", "noise.csv", "noise.tsv", "noise.htm") or (
                path.stem == "noise"
            ), text[:80]
    assert not (tmp_path.parent / "up.xhtml").exists()


def test_a_parser_that_connects_writes_or_starts_something_is_stopped(tmp_path):
    """The process is bound before a byte is parsed."""
    code = (
        "from selfedit.tasks.knowledge.readers.child import bound_process; bound_process()\n"
        "import sys\n"
        "for what in ('import socket; socket.create_connection((\"127.0.0.1\", 9))',"
        " 'import subprocess; subprocess.run([\"true\"])', 'import os; os.system(\"true\")',"
        f" 'open({str(tmp_path / 'x')!r}, \"w\").write(\"x\" * 10**6)', 'bytearray(2**33)'):\n"
        "    try: exec(what)\n"
        "    except (PermissionError, MemoryError, OSError) as error: print(type(error).__name__)\n"
        "    else: print('done', what)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert "done" not in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "x").exists() or not (tmp_path / "x").read_text()


def test_no_secret_reaches_the_parser(monkeypatch):
    """What the parser's process is given names no key."""
    given = {}

    def popen(command, *, env, **options):
        given.update(env)
        raise OSError("enough")

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr(extracting.subprocess, "Popen", popen)
    with pytest.raises(OSError, match="enough"):
        extracting._run(Path(__file__), KINDS[".pdf"])
    assert "sk-secret" not in given.values() and "OPENAI_API_KEY" not in given


def test_a_reader_that_is_not_installed_is_named_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, ".pdf", Kind("a PDF", "pdf", ("no_such_package",)))
    write_pdf(tmp_path / "a.pdf", [["The orchard gave pears."]])
    with pytest.raises(Unavailable, match="not installed") as caught:
        load_contexts(tmp_path / "a.pdf")
    assert "selfedit[documents]" in (caught.value.fix or "")
    (tmp_path / "b.txt").write_text("The lamp burns oil.\n")
    skipped: list[Skipped] = []
    (context,) = load_contexts(tmp_path, on_skip=skipped.append)
    assert context.text == "The lamp burns oil."
    assert "selfedit[documents]" in skipped[0].reason


def test_a_parser_that_never_ends_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(extracting, "MAX_SECONDS", 0.0)
    monkeypatch.setattr(extracting, "_SAY_EVERY", 0.01)
    path = write_pdf(tmp_path / "slow.pdf", [["The orchard gave pears."]])
    with pytest.raises(DocumentError, match="takes more than"):
        extract(path)
