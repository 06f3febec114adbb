"""The order of `make test`, what its two workers (pytest-xdist) may do beside each other, and what
is said when a notebook's kernel is gone."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from queue import Empty

import nbval.kernel
import nbval.plugin
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


os.environ["PYTHONFAULTHANDLER"] = "1"  # stacks to stderr where a signal ends a kernel
START = nbval.kernel.start_new_kernel


class Kernel(nbval.kernel.RunningKernel):
    """nbval's, which waits the cell's whole time for a process that died, and throws away what it
    said last. This one sees it, and says where the kernel is in a cell that has no end."""

    def __init__(self, *args: object, **named: object) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the kernel)
        nbval.kernel.start_new_kernel = lambda **own: START(**own | {"stderr": self.said})
        super().__init__(*args, **named)

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """As nbval's; RuntimeError with what the kernel said last where it is gone or late."""
        end = time.monotonic() + (timeout or 600)
        while True:
            try:
                return super().await_reply(msg_id, timeout=5)
            except Empty:
                late = time.monotonic() > end
                if late:
                    self.km.signal_kernel(signal.SIGABRT)
                    time.sleep(2)
                if late or not self.is_alive():
                    self.said.seek(0)
                    told = self.said.read().decode(errors="replace")[-6000:]
                    code = self.km.provisioner.process.returncode
                    how = f"no end in {timeout or 600:.0f} s" if late else "the kernel died"
                    raise RuntimeError(f"{how} (exit status {code}):\n{told}") from None


nbval.plugin.RunningKernel = Kernel
