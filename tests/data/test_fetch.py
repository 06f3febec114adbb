"""Downloads against a server of one's own: checksums, sizes, Zenodo's answer, hostile archives."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import threading
import zipfile

import pooch
import pytest
from pooch import downloaders

from scrapseg.data import fetch, steelds
from scrapseg.data.fetch import DownloadFailed, NoSpace


class Server(http.server.BaseHTTPRequestHandler):
    """Serves what `content` holds by path; the first `breaks` answers end in the middle."""

    breaks = 0
    asked: list[str]
    content: dict[str, bytes]

    def do_GET(self):
        self.asked.append(self.path)
        if self.path not in self.content:
            self.send_error(404)
            return
        body = self.content[self.path]
        self.send_response(200)
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
    Server.breaks, Server.asked, Server.content = 0, [], {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, text in members.items():
            packed.writestr(name, text)
    return buffer.getvalue()


def below(root) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_an_archive_is_fetched_unpacked_and_gone(url, tmp_path):
    Server.content["/a.zip"] = zipped({"top/a.txt": "A", "top/b/c.txt": "C"})
    sets = tmp_path / "sets"
    assert fetch.unzipped(f"{url}/a.zip", sets / "new") == sets / "new"
    assert below(sets) == {"new/top/a.txt": "A", "new/top/b/c.txt": "C"}


def test_no_member_leaves_the_folder(url, tmp_path):
    """Neither by dots, behind whatever prefix, nor by a full path; and none replaces another."""
    members = {
        "x/MT_Free/good.txt": "good",
        "x/MT_x/../../../../MT_Free/Imgs/evil.txt": "evil",
        "x/MT_x/../MT_Free/good.txt": "evil",
        "../evil.txt": "evil",
        f"{tmp_path}/evil.txt": "evil",
    }
    Server.content["/a.zip"] = zipped(members)
    where = tmp_path / "deep/er/sets/new"
    fetch.unzipped(f"{url}/a.zip", where)
    outside = {n: t for n, t in below(tmp_path).items() if not n.startswith("deep/er/sets/new/")}
    assert not outside
    assert (where / "x/MT_Free/good.txt").read_text() == "good"


def test_a_broken_download_leaves_nothing_and_can_be_repeated(url, tmp_path):
    Server.content["/a.zip"] = zipped({"a.txt": "A" * 100_000})
    Server.breaks = 1
    with pytest.raises(DownloadFailed, match="run it again"):
        fetch.unzipped(f"{url}/a.zip", tmp_path / "new")
    assert not below(tmp_path)
    assert len((fetch.unzipped(f"{url}/a.zip", tmp_path / "new") / "a.txt").read_text()) == 100_000


def test_wrong_content_is_not_kept(url, tmp_path):
    good = zipped({"a.txt": "A"})
    checksum = f"md5:{hashlib.md5(good).hexdigest()}"
    Server.content["/a.zip"] = zipped({"a.txt": "B"})
    with pytest.raises(DownloadFailed, match="not what its checksum says"):
        fetch.unzipped(f"{url}/a.zip", tmp_path / "new", checksum)
    assert not below(tmp_path)
    Server.content["/a.zip"] = good
    fetch.unzipped(f"{url}/a.zip", tmp_path / "new", checksum)
    assert below(tmp_path) == {"new/a.txt": "A"}


def test_no_server_no_file_and_no_archive_give_one_line(url, tmp_path):
    Server.content["/page.html"] = b"<html>sign in first</html>"
    for bad in (f"{url}/gone", "http://127.0.0.1:9/file.zip", f"{url}/page.html"):
        with pytest.raises(DownloadFailed) as caught:
            fetch.unzipped(bad, tmp_path / "new")
        assert bad in str(caught.value) and "\n" not in str(caught.value)
        assert not below(tmp_path)


@pytest.fixture
def zenodo(url, monkeypatch):
    """A record of two archives and a text on the server; the DOI leads to it."""
    files = {
        "SteelDS_a1.zip": zipped({"SteelDS/a1/train/images/f0.jpg": "a picture"}),
        "SteelDS_a2.zip": zipped({"SteelDS/a2/train/images/f0.jpg": "another"}),
        "README.md": b"read me",
    }
    Server.content |= {f"/files/{name}": content for name, content in files.items()}
    answer = {
        "files": [
            {
                "key": name,
                "size": len(content),
                "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                "links": {"self": f"{url}/files/{name}"},
            }
            for name, content in files.items()
        ]
    }
    Server.content["/records/1"] = json.dumps(answer).encode()
    monkeypatch.setattr(downloaders.ZenodoRepository, "base_api_url", f"{url}/records")
    monkeypatch.setattr(downloaders, "doi_to_url", lambda doi, **_: "https://zenodo.org/records/1")
    return answer


def test_a_zenodo_record_arrives_whole_and_only_once(zenodo, tmp_path, capsys):
    where = steelds.download(tmp_path / "steelds")
    size = sum(f["size"] for f in zenodo["files"])
    assert f"SteelDS (doi:{steelds.DOI}): 3 files, {size}B to download" in capsys.readouterr().err
    expected = {
        "README.md": "read me",
        "SteelDS/a1/train/images/f0.jpg": "a picture",
        "SteelDS/a2/train/images/f0.jpg": "another",
    }
    assert {n: t for n, t in below(where).items() if not n.startswith(".")} == expected
    asked = [p for p in Server.asked if p.startswith("/files")]
    assert len(asked) == 3
    steelds.download(where)
    assert [p for p in Server.asked if p.startswith("/files")] == asked


def test_a_record_goes_on_behind_the_files_that_arrived(zenodo, tmp_path):
    kept = Server.content.pop("/files/SteelDS_a2.zip")
    with pytest.raises(DownloadFailed, match=r"SteelDS_a2\.zip: "):
        steelds.download(tmp_path)
    Server.content["/files/SteelDS_a2.zip"] = kept
    steelds.download(tmp_path)
    assert Server.asked.count("/files/SteelDS_a1.zip") == 1
    assert Server.asked.count("/files/SteelDS_a2.zip") == 2


def test_a_full_disk_is_noticed_before_anything_is_fetched(zenodo, tmp_path, monkeypatch):
    zenodo["files"][0]["size"] = 31_000_000_000
    Server.content["/records/1"] = json.dumps(zenodo).encode()
    disk = type("Disk", (), {"free": 10_000_000_000})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: disk)
    with pytest.raises(NoSpace, match=r"needs 62\.0GB, 10\.0GB are free"):
        steelds.download(tmp_path / "steelds")
    assert not (tmp_path / "steelds").exists()
    assert not [p for p in Server.asked if p.startswith("/files")]


def test_an_answer_that_is_no_record(zenodo, tmp_path):
    Server.content["/records/1"] = b'{"message": "no such record"}'
    with pytest.raises(DownloadFailed, match=f"{steelds.DOI}: the answer is no record") as caught:
        steelds.download(tmp_path / "steelds")
    assert "\n" not in str(caught.value)


def test_a_data_set_is_found_under_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.VARIABLE, str(tmp_path))
    assert not fetch.found("steelds")
    (tmp_path / "steelds").mkdir()
    assert fetch.found("steelds")
    assert fetch.required("steelds") == tmp_path / "steelds"
    monkeypatch.delenv(fetch.VARIABLE)
    assert fetch.folder("steelds").parts[-2:] == ("data", "steelds")
    assert fetch.folder("steelds").is_relative_to(pooch.os_cache("scrapseg"))
