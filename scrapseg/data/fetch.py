"""Public data sets that are not shipped: where they lie on this machine, and how they get there.

A data set ``<name>`` is looked for in ``$SCRAPSEG_DATA/<name>``; without that variable in the
user's cache folder. It is only downloaded on request, through pooch, after its size is told:

    python -m scrapseg.data.magnetic_tile --download
    python -m scrapseg.data.steelds --download
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from scrapseg.data.base import DataError, MissingFile

VARIABLE = "SCRAPSEG_DATA"
"""Environment variable that names the folder of all such data sets."""
CHUNK = 1 << 20
TIMEOUT_S = 60


class DownloadFailed(DataError):
    """A download did not come to its end; what has arrived is kept for the next try."""


class NoSpace(DataError):
    """The disk has too little room for what is to be downloaded."""


def folder(name: str) -> Path:
    """Where the data set ``name`` lies, or would lie."""
    given = os.environ.get(VARIABLE)
    return (Path(given) if given else Path(pooch.os_cache("scrapseg")) / "data") / name


def found(name: str) -> bool:
    """Whether the data set ``name`` is on this machine."""
    return folder(name).is_dir()


def required(name: str, module: str) -> Path:
    """The folder of the data set ``name``.

    Raises:
        MissingFile: it is not on this machine; the message says how to get it.
    """
    path = folder(name)
    if not path.is_dir():
        raise MissingFile(
            f"{path}: no {name} data here; put it there, set {VARIABLE} to the folder that holds "
            f"{name}/, or run: python -m {module} --download"
        )
    return path


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: its name, address, size in bytes (0 if unknown) and checksum.

    The checksum is ``<algorithm>:<hexadecimal digits>``, as pooch writes it, or None.
    """

    name: str
    url: str
    size: int = 0
    checksum: str | None = None


def zenodo_files(record: Mapping) -> list[RemoteFile]:
    """The files of a Zenodo record, from what ``https://zenodo.org/api/records/<id>`` answers.

    Raises:
        DataError: the answer is no such record.
    """
    try:
        return [
            RemoteFile(f["key"], f["links"]["self"], int(f["size"]), f["checksum"])
            for f in record["files"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"Zenodo's answer is no record with files ({error!r})") from None


def zenodo_record(doi: str) -> Mapping:
    """Ask Zenodo for the record with this DOI (``10.5281/zenodo.<id>``).

    Raises:
        DownloadFailed: no connection, or no such record.
    """
    url = f"https://zenodo.org/api/records/{doi.rpartition('.')[2]}"
    try:
        answer = requests.get(url, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        raise DownloadFailed(
            f"{url}: {_reason(error)}; look whether https://doi.org/{doi} opens, and try again"
        ) from None


@dataclass(frozen=True)
class Resuming:
    """A downloader for pooch that goes on where an interrupted one stopped, with a progress bar.

    Attributes:
        part: where what has arrived is kept until the file is whole.
    """

    part: Path

    def __call__(self, url: str, output_file: str, _: pooch.Pooch | None) -> None:
        """Download ``url`` to ``output_file``.

        Raises:
            DownloadFailed: the connection broke, or the server refused.
        """
        done = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
                if answer.status_code != 416:  # 416: it is all here; the checksum will tell
                    answer.raise_for_status()
                    self._receive(answer, done if answer.status_code == 206 else 0)
        except requests.RequestException as error:
            raise DownloadFailed(f"{url}: {_reason(error)}; run it again to go on") from None
        os.replace(self.part, output_file)

    def _receive(self, answer: requests.Response, done: int) -> None:
        total = done + int(answer.headers.get("Content-Length", 0))
        bar = {"total": total or None, "initial": done, "unit": "B", "unit_scale": True}
        with (
            self.part.open("ab" if done else "wb") as file,
            tqdm(desc=self.part.stem, **bar) as shown,
        ):
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                shown.update(len(chunk))
        if self.part.stat().st_size < total:
            raise DownloadFailed(f"{answer.url}: the connection ended early; run it again to go on")


def download(file: RemoteFile, where: Path) -> Path:
    """Download one file to ``where``, or find it there already; its checksum is checked.

    Raises:
        DownloadFailed: see `Resuming`; or the content is not what its checksum says.
    """
    where.mkdir(parents=True, exist_ok=True)
    resuming = Resuming(where / f"{file.name}.part")
    try:
        path = pooch.retrieve(
            file.url, file.checksum, fname=file.name, path=where, downloader=resuming
        )
    except ValueError:  # pooch's word for a wrong checksum; what has arrived is gone
        raise DownloadFailed(
            f"{where / file.name}: what {file.url} sent is not what its checksum says; run it again"
        ) from None
    return Path(path)


def announce(what: str, files: list[RemoteFile], where: Path, unpacked: float = 2.0) -> None:
    """Say how large a download is before it starts, and that it may be stopped.

    Args:
        unpacked: room to leave, as a multiple of the files' size: archives are unpacked.

    Raises:
        NoSpace: the disk has less room than that.
    """
    size = sum(f.size for f in files)
    existing = next(p for p in [where, *where.parents] if p.exists())
    free = shutil.disk_usage(existing).free
    print(
        f"{what}: {len(files)} files, {_gigabytes(size)} to download into {where}, about "
        f"{_gigabytes(unpacked * size)} with what is unpacked; {_gigabytes(free)} are free. "
        "Ctrl-C stops it, the same command goes on.",
        file=sys.stderr,
    )
    if unpacked * size > free:
        raise NoSpace(
            f"{where}: {what} needs {_gigabytes(unpacked * size)}, {_gigabytes(free)} are free; "
            f"set {VARIABLE} to a folder on a larger disk"
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _reason(error: Exception) -> str:
    """The short end of an error that wraps others in brackets."""
    text = " ".join(str(error).split())
    return text if len(text) < 160 else type(error).__name__
