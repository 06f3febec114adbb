"""Downloads against a server of one's own: resuming, checksums, sizes, Zenodo's answer."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading

import pytest

from scrapseg.data import fetch, steelds
from scrapseg.data.base import DataError
from scrapseg.data.fetch import DownloadFailed, NoSpace, RemoteFile

CONTENT = bytes(range(256)) * 20_000  # 5 MB


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; the first `breaks` answers end in the middle."""

    breaks = 0
    ranges: list[str | None]
    content = CONTENT

    def do_GET(self):
        if self.path == "/gone":
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        start = int(wanted[len("bytes=") : -1]) if wanted else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        body = self.content[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if Server.breaks:
            Server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    Server.breaks, Server.ranges, Server.content = 0, [], CONTENT
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/file.bin"
    server.shutdown()
    server.server_close()


def remote(url, content=CONTENT):
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    return RemoteFile("file.bin", url, len(content), checksum)


def test_a_broken_download_goes_on_where_it_stopped(url, tmp_path):
    Server.breaks = 1
    with pytest.raises(DownloadFailed, match="run it again to go on"):
        fetch.download(remote(url), tmp_path)
    part = (tmp_path / "file.bin.part").stat().st_size
    assert 0 < part < len(CONTENT) and not (tmp_path / "file.bin").exists()
    path = fetch.download(remote(url), tmp_path)
    assert path.read_bytes() == CONTENT
    assert Server.ranges == [None, f"bytes={part}-"]
    fetch.download(remote(url), tmp_path)
    assert len(Server.ranges) == 2  # it is there, nothing is asked for
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_wrong_content_is_not_kept(url, tmp_path):
    Server.content = CONTENT[:-1] + b"x"
    with pytest.raises(DownloadFailed, match="not what its checksum says"):
        fetch.download(remote(url), tmp_path)
    assert not list(tmp_path.iterdir())
    Server.content = CONTENT
    assert fetch.download(remote(url), tmp_path).read_bytes() == CONTENT


def test_no_server_and_no_file_give_one_line(url, tmp_path):
    for bad in (url.replace("/file.bin", "/gone"), "http://127.0.0.1:9/file.bin"):
        with pytest.raises(DownloadFailed) as caught:
            fetch.download(RemoteFile("file.bin", bad), tmp_path)
        assert bad in str(caught.value) and "\n" not in str(caught.value)


def test_zenodo_names_files_sizes_and_checksums(tmp_path, monkeypatch):
    answer = {
        "files": [
            {
                "key": "SteelDS_a1.zip",
                "size": 31_000_000_000,
                "checksum": "md5:0123456789abcdef0123456789abcdef",
                "links": {"self": "https://zenodo.org/api/records/1/files/SteelDS_a1.zip/content"},
            }
        ]
    }
    (file,) = fetch.zenodo_files(json.loads(json.dumps(answer)))
    assert (file.name, file.size) == ("SteelDS_a1.zip", 31_000_000_000)
    assert file.checksum.startswith("md5:") and file.url.endswith("/content")
    with pytest.raises(DataError, match="no record"):
        fetch.zenodo_files({"message": "no such record"})
    monkeypatch.setattr(fetch, "zenodo_record", lambda doi: answer)
    monkeypatch.setattr(
        fetch.shutil, "disk_usage", lambda path: type("Disk", (), {"free": 10_000_000_000})
    )
    with pytest.raises(NoSpace, match=r"needs 62\.0 GB, 10\.0 GB are free"):
        steelds.download(tmp_path / "steelds")
    assert not (tmp_path / "steelds").exists()


def test_a_data_set_is_found_under_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.VARIABLE, str(tmp_path))
    assert not fetch.found("steelds")
    (tmp_path / "steelds").mkdir()
    assert fetch.found("steelds")
    assert fetch.required("steelds", "scrapseg.data.steelds") == tmp_path / "steelds"
    monkeypatch.delenv(fetch.VARIABLE)
    assert fetch.folder("steelds").parts[-2:] == ("data", "steelds")
