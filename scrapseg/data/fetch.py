"""Public data sets that are not shipped: where they lie on this machine, and how they get there.

A data set ``<name>`` is looked for in ``<name>`` and ``real/<name>`` of ``$SCRAPSEG_DATA``; without
that variable in the user's cache folder. It is only downloaded on request, through pooch, after its
size is told:

    python -m scrapseg fetch magnetic-tile
    python -m scrapseg fetch belt-waste
    python -m scrapseg fetch cables
    python -m scrapseg fetch steelds

Files that have arrived whole are kept; one that was interrupted starts over, as pooch does not
resume. Archives are unpacked by pooch, which lets no member leave the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pooch
from pooch import downloaders
from tqdm import tqdm

from scrapseg.data.errors import DataError, MissingFile

VARIABLE = "SCRAPSEG_DATA"
"""Environment variable that names the folder of all such data sets."""
TIMEOUT_S = 60


class DownloadFailed(DataError):
    """A download did not come to its end, or what came is not what its checksum says."""


class NoSpace(DataError):
    """The disk has too little room for what is to be downloaded."""


def folder(name: str) -> Path:
    """Where the data set ``name`` lies, or would lie."""
    given = os.environ.get(VARIABLE)
    root = Path(given) if given else Path(pooch.os_cache("scrapseg")) / "data"
    return root / "real" / name if (root / "real" / name).is_dir() else root / name


def found(name: str) -> bool:
    """Whether the data set ``name`` is on this machine."""
    return folder(name).is_dir()


def again(name: str) -> str:
    """The remedy for a damaged data set ``name``, as messages end in it."""
    return f"download the data set again: python -m scrapseg fetch {name}"


def required(name: str) -> Path:
    """The folder of the data set ``name``.

    Raises:
        MissingFile: it is not on this machine; the message says how to get it.
    """
    path = folder(name)
    if not path.is_dir():
        raise MissingFile(
            f"{path}: no {name} data here; put it there, set {VARIABLE} to the folder that holds "
            f"{name}/, or run: python -m scrapseg fetch {name}"
        )
    return path


def announce(what: str, sizes: Sequence[int], where: Path) -> None:
    """Say how large a download is before it starts.

    Args:
        sizes: of its files in bytes. Twice their sum is asked for: archives are unpacked.

    Raises:
        NoSpace: the disk has less room than that.
    """
    existing = next(p for p in [where, *where.parents] if p.exists())
    free = shutil.disk_usage(existing).free
    size, needed, room = (f"{tqdm.format_sizeof(n)}B" for n in (sum(sizes), 2 * sum(sizes), free))
    print(
        f"{what}: {len(sizes)} files, {size} to download into {where}, about {needed} with what is "
        f"unpacked; {room} are free. Ctrl-C stops it; files that are there are not fetched again.",
        file=sys.stderr,
    )
    if 2 * sum(sizes) > free:
        raise NoSpace(
            f"{where}: {what} needs {needed}, {room} are free; set {VARIABLE} to a folder on a "
            "larger disk"
        )


def unzipped(url: str, where: Path, checksum: str | None = None) -> Path:
    """Download a zip archive and unpack it into the new folder ``where``; the archive goes.

    Raises:
        DownloadFailed: no connection, wrong content, or no archive.
    """
    shutil.rmtree(where, ignore_errors=True)  # what an interrupted unpacking left
    archive = where.with_name(f"{where.name}.zip")
    with _named(url, archive):
        unzip = pooch.Unzip(extract_dir=where.name)
        downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_S)
        pooch.retrieve(url, checksum, archive.name, where.parent, unzip, downloader)
    archive.unlink()
    return where


def from_zenodo(doi: str, what: str, where: Path) -> Path:
    """Download all files of a Zenodo record into ``where`` and unpack the archives among them.

    Each is checked against the record's checksum; an unpacked archive is removed and not fetched
    again.

    Raises:
        DownloadFailed, NoSpace: see `unzipped` and `announce`.
    """
    files = pooch.create(where, f"doi:{doi}")
    with _named(f"https://doi.org/{doi}"):
        record = downloaders.doi_to_repository(doi, timeout=TIMEOUT_S)
        record.populate_registry(files)
        sizes = [int(f["size"]) for f in record.api_response["files"]]
    announce(f"{what} (doi:{doi})", sizes, where)
    for name in files.registry_files:
        done = where / f".{name}.unpacked"
        if done.is_file():
            continue
        unzip = pooch.Unzip(extract_dir=".") if name.endswith(".zip") else None
        with _named(name, where / name):
            files.fetch(name, unzip, pooch.DOIDownloader(progressbar=True, timeout=TIMEOUT_S))
        if unzip:
            (where / name).unlink()
            done.touch()
    return where


@contextlib.contextmanager
def _named(what: str, archive: Path | None = None) -> Iterator[None]:
    """Give what pooch raises a name and one line; an archive that is none is removed."""
    try:
        yield
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise DownloadFailed(f"{what}: no zip archive ({error}), removed; run it again") from None
    except OSError as error:  # of the disk, and of requests, whose errors are such as well
        reason = " ".join(str(error).split())
        reason = reason if len(reason) < 160 else type(error).__name__
        raise DownloadFailed(f"{what}: {reason}; look whether it opens, run it again") from None
    except (ValueError, KeyError, TypeError) as error:
        fault = f"the answer is no record with files ({error!r})"
        if "hash" in str(error):  # pooch's word for it; what has arrived is gone
            fault = "what came is not what its checksum says; run it again"
        raise DownloadFailed(f"{what}: {fault}") from None
