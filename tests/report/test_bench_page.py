"""Benchmarks' results in a page's places, and their pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.arithmetic import arithmetic
from selfedit.errors import DataError, FormatError
from selfedit.report.bench import draw_generate, draw_inner
from selfedit.report.bench_page import bench_markdown, fill_page

PAGE = (
    "# Page\n\n<!-- bench arithmetic -->\nold\n<!-- end -->\n\ntext\n\n<!-- bench racing"
    " -->\nkept\n<!-- end -->\n"
)


def test_a_place_is_filled_and_filled_again(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text(PAGE)
    found = arithmetic(ks=(1, 64))
    file.write_text(json.dumps(found))
    assert fill_page(page, [file]) == ["arithmetic"]
    once = page.read_text()
    assert (
        "old" not in once and "kept" in once and once.endswith(PAGE[PAGE.index("<!-- end -->") :])
    )
    assert f"| 64 | {found['rows'][1]['flops'] / 1e12:.1f} |" in once
    assert fill_page(page, [file]) == ["arithmetic"] and page.read_text() == once


def test_what_cannot_be_filled(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text("no place")
    with pytest.raises(DataError, match="cannot be read"):
        fill_page(page, [tmp_path / "nothing"])
    file.write_text("{}")
    with pytest.raises(FormatError, match="no benchmark's result"):
        fill_page(page, [tmp_path])
    file.write_text(json.dumps(arithmetic()))
    with pytest.raises(DataError, match="no place for the benchmark 'arithmetic'"):
        fill_page(page, [tmp_path])


def test_a_bar_in_a_cell_is_no_column() -> None:
    racing = {"same": 0.97, "se": 0.01, "n": 16, "races": 3200, "saved": 0.2}
    text = bench_markdown(
        {"benchmark": "racing", "repeats": 3, "stored": None, "simulated": racing, "notes": ["a|b"]}
    )
    assert "| simulated, 3 repeats | 97.0 | 1.0 | 16 | 3200 | 20.0 |" in text and "- a|b" in text


def test_pictures(tmp_path: Path) -> None:
    row = {"seconds": 2.0, "k": 1, "workers": 1}
    rows = [
        row | {"contestant": "published", "lora": "published"},
        row | {"contestant": "careful", "lora": "recipe"},
        *[
            row | {"contestant": "together", "lora": "recipe", "k": k, "seconds": 2 / k}
            for k in (1, 8)
        ],
    ]
    settings = {"inner": {"lora": {"rank": 16, "targets": ["q_proj"]}}}
    assert (
        draw_inner({"rows": rows, "settings": settings}, tmp_path / "report").stat().st_size > 1000
    )
    found = {"rows": [{"name": "ours", "tokens_per_second": 3.0}]}
    assert draw_generate(found, tmp_path / "report").stat().st_size > 1000
