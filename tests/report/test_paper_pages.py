"""The paper's pages as they are printed: how many, and that nothing lies over something else."""

from __future__ import annotations

from itertools import combinations

import pypdfium2
import pytest
import typst

from scrapseg.files import REPOSITORY

PAPER = REPOSITORY / "paper" / "paper.pdf"
#: Points by which lines of text may reach into each other, across and down: sub- and superscripts.
TOUCHING = 2.0, 3.0


def overlaps(pdf: bytes) -> dict[int, int]:
    """Pairs of pieces of text that lie over each other, by page, from 1."""
    found = {}
    for number, page in enumerate(pypdfium2.PdfDocument(pdf), start=1):
        text = page.get_textpage()
        boxes = [text.get_rect(k) for k in range(text.count_rects())]
        pairs = combinations(boxes, 2)
        found[number] = sum(
            min(a[2], b[2]) - max(a[0], b[0]) > TOUCHING[0]
            and min(a[3], b[3]) - max(a[1], b[1]) > TOUCHING[1]
            for a, b in pairs
        )
    return found


@pytest.mark.parametrize(("up", "expected"), [(0, False), (32, True)])
def test_text_over_text_is_seen(up, expected):
    pieces = f"#text(20pt)[A table of numbers]\n\n#move(dy: -{up}pt, text(20pt)[a figure on it])"
    assert any(overlaps(typst.compile(pieces.encode())).values()) is expected


def test_the_paper_has_nine_pages_and_nothing_lies_over_something_else():
    found = overlaps(PAPER.read_bytes())
    assert len(found) <= 9
    assert not any(found.values()), found
