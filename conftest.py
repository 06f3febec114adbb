"""The order of `make test`: quick unit tests, then the notebooks, then the whole pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file only, so that a notebook's cells stay together and in their order."""
    from scrapseg.reproduce import DEPENDS

    order = {stem: number for number, stem in enumerate(DEPENDS, start=1)}
    last = len(order) + 1

    def rank(item: pytest.Item) -> int:
        path = Path(item.path)
        if path.suffix == ".ipynb":
            return order.get(path.stem, last)
        return last + 1 if path.stem == "test_smoke" else 0

    items.sort(key=rank)
