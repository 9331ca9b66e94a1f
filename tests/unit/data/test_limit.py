"""The published LIMIT files: from a local copy, and over HTTP from a server of our own. The real files only where present."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from irkit.core.errors import DataError
from irkit.data import limit
from irkit.data.download import download, verify
from irkit.data.open import open_collection
from irkit.store import Store

CORPUS = b'{"_id": "Ada Lovelace", "title": "", "text": "Ada Lovelace likes Algebra and Rain."}\n'
QUERIES = b'{"_id": "query_0", "text": "Who likes Algebra?"}\n'
QRELS = b'{"query-id": "query_0", "corpus-id": "Ada Lovelace", "score": 1}\n'


class Server(ThreadingHTTPServer):
    files: dict[str, bytes]
    requests: list[tuple[str, str | None]]
    cut_at: int | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        content = self.server.files.get(self.path)
        start = int(re.sub(r"\D", "", wanted)) if wanted else 0
        if content is None or (start and start >= len(content)):
            self.send_error(404 if content is None else 416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.cut_at])
        self.server.cut_at = None

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with a small collection in the place of the published LIMIT-small."""
    with Server(("127.0.0.1", 0), Handler) as running:
        names = ("corpus.jsonl", "queries.jsonl", "qrels.jsonl")
        running.files = {f"/limit-small/{n}": c for n, c in zip(names, (CORPUS, QUERIES, QRELS), strict=True)}
        running.requests = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.delenv(limit.HOME, raising=False)
        monkeypatch.setattr(limit, "_URL", f"http://127.0.0.1:{running.server_port}")
        digests = {
            "corpus.jsonl": hashlib.sha1(b"blob %d\0" % len(CORPUS) + CORPUS).hexdigest(),
            "queries.jsonl": hashlib.sha256(QUERIES).hexdigest(),
            "qrels": hashlib.sha256(b"query_0\tAda Lovelace\t1\n").hexdigest(),
        }
        monkeypatch.setitem(limit._DIGESTS, "limit-small", digests)
        yield running
        running.shutdown()


def opened(store: Store) -> str:
    return open_collection("irkit/limit-small", store, base=Path()).docs.docno(0)


def test_files_are_downloaded_once_and_the_download_is_not_kept(server: Server, store: Store) -> None:
    assert opened(store) == "Ada Lovelace"
    assert [path for path, _ in server.requests] == [
        f"/limit-small/{n}.jsonl" for n in ("corpus", "qrels", "queries")
    ]
    server.shutdown()
    assert opened(store) == "Ada Lovelace" and len(server.requests) == 3 and not list(store.unfinished())


def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 9
    server.files["/big"], server.cut_at = content, 1000
    url = f"http://127.0.0.1:{server.server_port}/big"
    download(url, tmp_path / "big", hint="")
    assert (tmp_path / "big").read_bytes() == content and not (tmp_path / "big.partial").exists()
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000-"]
    (tmp_path / "whole.partial").write_bytes(content)
    download(url, tmp_path / "whole", hint="")
    assert (tmp_path / "whole").read_bytes() == content


def test_a_file_that_is_not_the_published_one_is_refused_and_fetched_again(
    server: Server, store: Store
) -> None:
    good = server.files["/limit-small/corpus.jsonl"]
    server.files["/limit-small/corpus.jsonl"] = good.replace(b"Algebra", b"Calculus")
    with pytest.raises(DataError, match="not the published one"):
        opened(store)
    assert not list(store.artifacts())
    server.files["/limit-small/corpus.jsonl"] = good
    assert opened(store) == "Ada Lovelace"


def test_offline_without_a_copy_says_both_ways(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, "_URL", "http://127.0.0.1:1")
    with pytest.raises(DataError, match=r"(?s)download failed.*allow a connection.*IRKIT_LIMIT_HOME"):
        opened(store)
    server.files.clear()
    monkeypatch.setattr(limit, "_URL", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(DataError, match="404"):
        opened(store)
    assert len(server.requests) == 1, "a refusal is not asked for again"


def test_a_local_copy_in_either_layout(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "limit-small"
    (home / "qrels").mkdir(parents=True)
    monkeypatch.setenv(limit.HOME, str(home.parent))
    (home / "corpus.jsonl.gz").write_bytes(gzip.compress(CORPUS))
    (home / "queries.jsonl").write_bytes(QUERIES)
    (home / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nquery_0\tAda Lovelace\t1\n")
    assert opened(Store(tmp_path / "a")) == "Ada Lovelace"
    (home / "qrels.jsonl").write_bytes(QRELS)
    assert opened(Store(tmp_path / "b")) == "Ada Lovelace"
    (home / "qrels.jsonl").write_bytes(QRELS.replace(b"1}", b"2}"))
    with pytest.raises(DataError, match=r"qrels.jsonl: the judgements are not the published ones"):
        opened(Store(tmp_path / "c"))
    (home / "corpus.jsonl.gz").write_bytes(gzip.compress(CORPUS + b"\n"))
    with pytest.raises(DataError, match="not the published one"):
        opened(Store(tmp_path / "d"))
    assert (home / "corpus.jsonl.gz").exists() and not server.requests


def test_verify_knows_git_blob_ids(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    verify(tmp_path / "hello", "ce013625030ba8dba906f756967f9e9ca394464a", hint="")  # git hash-object
    with pytest.raises(DataError):
        verify(tmp_path / "hello", "ce013625030ba8dba906f756967f9e9ca394464b", hint="")


def test_the_real_limit_small(test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limit.HOME, str(test_data))
    collection = open_collection("irkit/limit-small", Store(tmp_path), base=tmp_path)
    assert (len(collection.docs), len(collection.queries), len(collection.qrels.doc)) == (46, 1000, 2000)
    assert (collection.qrels.offsets[1:] - collection.qrels.offsets[:-1] == 2).all()


def test_the_real_limits_queries_and_judgements(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no copy of its 50,000 documents here: everything else must be accepted as published."""
    shutil.copytree(test_data / "limit-full-partial", tmp_path / "limit")
    monkeypatch.setenv(limit.HOME, str(tmp_path))
    source = limit.LimitSource("irkit/limit")
    assert (
        len(list(source.topics(tmp_path).rows())) == 1000 and len(list(source.qrels(tmp_path).rows())) == 2000
    )
    (tmp_path / "limit" / "corpus.jsonl").write_text(json.dumps({"_id": "a"}))
    with pytest.raises(DataError, match="not the published one"):
        source.docs(tmp_path)
