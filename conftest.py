"""The order of `make test`, and what its two workers (pytest-xdist) may do beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

#: What builds on one another's runs, in this order: one worker does all of it.
CHAIN = (
    "03_multiscale_finetuning",
    "05_baseline_comparison",
    "05b_misses_and_furnace",
    "04_fewshot_ablations",
    "test_smoke",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: the chain, other notebooks, unit tests. Cells keep their order."""

    def rank(item: pytest.Item) -> int:
        path = Path(item.path)
        if path.stem in CHAIN:
            return CHAIN.index(path.stem)
        return len(CHAIN) + (path.suffix != ".ipynb")

    items.sort(key=rank)


class ByFile(LoadScopeScheduling):
    """A worker takes whole files, and the chain as one."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return "chain" if Path(path).stem in CHAIN else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Two workers share the tests by file."""
    return ByFile(config, log)
