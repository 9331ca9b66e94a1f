from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irkit.core.errors import DataError
from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.store import Store

Load = Callable[..., Collection]


def test_codes_are_positions_in_the_bytewise_order_of_ids(load: Load) -> None:
    docs = load().docs
    assert docs.docnos(range(3)) == ["d1", "d10", "d2"]
    assert [docs.code(docno) for docno in ("d1", "d10", "d2", "d3", "")] == [0, 1, 2, None, None]
    assert docs.text(0) == "First one" and docs.text(1) == "ten" and docs.title(1) == ""
    assert docs.docnos(docs.source_order()) == ["d2", "d10", "d1"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1),
        min_size=1,
        max_size=30,
    )
)
def test_order_and_lookup_hold_for_any_ids(tmp_path_factory: pytest.TempPathFactory, ids: set[str]) -> None:
    home = tmp_path_factory.mktemp("any")
    (home / "docs").write_text(
        "".join(json.dumps({"_id": i, "text": i[::-1]}) + "\n" for i in ids), encoding="utf-8"
    )
    (home / "queries").write_text('{"_id": "q", "text": "t"}\n')
    (home / "qrels").write_text(json.dumps({"query-id": "q", "corpus-id": min(ids), "score": 1}))
    spec = LocalSpec(docs="docs", queries="queries", qrels="qrels")
    docs = open_collection(spec, Store(home / "store"), base=home).docs
    expected = sorted(ids, key=lambda docno: docno.encode())
    assert docs.docnos(range(len(docs))) == expected
    assert [docs.code(docno) for docno in expected] == list(range(len(expected)))
    assert docs.texts(range(len(docs))) == [docno[::-1] for docno in expected]


def test_queries_and_judgements_of_the_split(load: Load) -> None:
    test, train = load(), load(path="toy", split="train")
    assert test.name == "toy/test" and test.queries.qid == ("q1",) and train.queries.qid == ("q2",)
    doc, gain = test.qrels[0]
    assert doc.tolist() == [0, 1] and gain.tolist() == [2, 0] and doc.dtype == gain.dtype == np.int32
    assert test.docs_fingerprint == train.docs_fingerprint and test.fingerprint != train.fingerprint


def test_splits_share_one_docs_artifact(load: Load, store: Store) -> None:
    load(), load(path="toy", split="train")
    assert sorted(artifact.kind for artifact in store.artifacts()) == ["docs", "topics", "topics"]


def test_a_single_split_keeps_unjudged_queries(load: Load, folder: Path) -> None:
    (folder / "qrels" / "train.tsv").unlink()
    collection = load()
    assert collection.queries.qid == ("q1", "q2") and collection.judged.tolist() == [True, False]


def test_the_fingerprint_covers_documents_queries_judgements_and_policy(load: Load, folder: Path) -> None:
    seen = {load().fingerprint, load(path="toy", policy={"drop_self": True}).fingerprint}
    for name, old, new in (
        ("qrels/test.tsv", "d1\t2", "d1\t1"),
        ("queries.jsonl", "what is one", "what was one"),
        ("corpus.jsonl", "two words", "three words"),
    ):
        path = folder / name
        path.write_text(path.read_text().replace(old, new))
        seen.add(load().fingerprint)
    assert len(seen) == 5


def test_a_relevance_level_is_part_of_the_fingerprint_only_where_it_is_set(load: Load) -> None:
    usual, explicit, two = (
        load(path="toy", policy=p) for p in ({}, {"relevance_level": 1}, {"relevance_level": 2})
    )
    assert usual.fingerprint == explicit.fingerprint != two.fingerprint
    assert usual.docs_fingerprint == two.docs_fingerprint
    assert usual.policy.identity() == {"drop_self": False, "macro": None}  # as before there were levels
    assert two.policy.identity()["relevance_level"] == 2
    # computed before the option existed: the same collection has the same fingerprint ever since
    assert usual.fingerprint == "27da72fcc59fb69bf1c131d51949793673dddd6d64eba7b0cacced1a05018b11"


def test_where_and_how_files_are_kept_does_not_matter(load: Load, folder: Path, tmp_path: Path) -> None:
    before = load()
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "corpus.jsonl.gz").write_bytes(gzip.compress((copy / "corpus.jsonl").read_bytes()))
    (copy / "corpus.jsonl").unlink()
    for name in ("qrels/test.tsv", "queries.jsonl"):
        (copy / name).write_bytes(b"\xef\xbb\xbf" + (copy / name).read_bytes().replace(b"\n", b"\r\n"))
    after = load(path="copy")
    assert (after.docs_fingerprint, after.fingerprint) == (before.docs_fingerprint, before.fingerprint)
    lines = (folder / "corpus.jsonl").read_text().splitlines(keepends=True)
    (copy / "corpus.jsonl").write_text("".join(reversed(lines)))
    assert load(path="copy").fingerprint == before.fingerprint


def test_an_open_collection_reads_neither_sources_nor_ir_datasets(load: Load, folder: Path) -> None:
    load()
    code = """
        import sys
        from pathlib import Path
        from irkit.data import formats, open
        from irkit.data.spec import LocalSpec
        from irkit.store import Store
        formats.lines = None
        collection = open.open_collection(LocalSpec(path="toy"), Store(Path("store")), base=Path())
        assert collection.docs.text(0) == "First one" and collection.queries.text == ("what is one",)
        heavy = {"ir_datasets", "pandas", "torch", "numba"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_codes_follow_documents_that_were_built_anew(load: Load, store: Store) -> None:
    """The id of a data set stays when its owner changes the content; judgements must then not keep the old codes."""
    from irkit.store import Recipe
    from irkit.store.artifact import seal

    first = load()
    topics = next(artifact for artifact in store.artifacts() if artifact.kind == "topics")
    manifest = json.loads((topics.path / "manifest.json").read_text())
    manifest["meta"]["content"] = "of other documents"
    del manifest["seal"]
    (topics.path / "manifest.json").write_text(seal(manifest))
    assert load().fingerprint == first.fingerprint
    again = store.find(Recipe("topics", topics.recipe))
    assert again is not None and again.meta["content"] == first.docs_fingerprint


def test_a_build_that_is_killed_leaves_nothing_half_written(load: Load, folder: Path, store: Store) -> None:
    code = """
        import os
        from pathlib import Path
        from irkit.data import build, open
        from irkit.data.spec import LocalSpec
        from irkit.store import Store
        def kill(*_, **__):
            os._exit(9)
        build.np.save = kill
        open.open_collection(LocalSpec(path="toy"), Store(Path("store")), base=Path())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=folder.parent, capture_output=True, check=False
    )
    assert done.returncode == 9
    assert list(store.artifacts()) == [] and list(store.unfinished())
    assert load().docs.docnos(range(3)) == ["d1", "d10", "d2"]
    assert list(store.unfinished()) == [] and list(store.verify()) == []


def test_a_read_only_store_opens_what_it_has(load: Load, store: Store, folder: Path) -> None:
    before = load()
    if os.geteuid() == 0:
        shutil.rmtree(store.root / "locks")
        (store.root / "digests.json").mkdir(
            exist_ok=True
        )  # cannot be read as a file, nor replaced: not even by root
    else:
        store.root.chmod(0o555)
    os.utime(folder / "corpus.jsonl", (1, 1))
    try:
        assert load().fingerprint == before.fingerprint
    finally:
        store.root.chmod(0o755)


def test_digests_are_remembered_until_the_file_changes(
    load: Load, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from irkit.store import digests

    monkeypatch.setattr(digests, "_SETTLED_NS", -1)  # every file counts as settled
    before = load()
    read: list[Path] = []
    real = digests.file_sha256
    monkeypatch.setattr(digests, "file_sha256", lambda path: read.append(path) or real(path))
    assert load().fingerprint == before.fingerprint and read == []
    (folder / "corpus.jsonl").write_text(
        (folder / "corpus.jsonl").read_text().replace("one", "eno")
    )  # same size
    assert load().fingerprint != before.fingerprint and {path.name for path in read} == {"corpus.jsonl"}
    (store.root / "digests.json").write_text("{damaged")
    assert load().fingerprint != before.fingerprint


def test_progress_is_reported(store: Store, folder: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    open_collection(
        LocalSpec(path="toy"), store, base=folder.parent, on_progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == ("documents", 3, 3)


def test_self_matches_are_excluded_where_the_policy_says_so(load: Load, folder: Path) -> None:
    (folder / "queries.jsonl").write_text('{"_id": "d2", "text": "x"}\n{"_id": "q1", "text": "y"}\n')
    (folder / "qrels" / "train.tsv").unlink()
    assert load().queries.exclude == ()
    exclude = load(path="toy", policy={"drop_self": True}).queries.exclude
    assert [codes.tolist() for codes in exclude] == [[2], []] and exclude[0].dtype == np.int32


def test_ids_that_queries_share_with_documents_are_counted(load: Load, folder: Path) -> None:
    odd = "query id is also a document id and policy.drop_self is off"
    assert odd not in load().warnings
    lines = [f'{{"_id": "{qid}", "text": "x"}}\n' for qid in ("q1", "d10", "d2")]
    (folder / "queries.jsonl").write_text("".join(lines))
    (folder / "qrels" / "train.tsv").unlink()
    assert load().warnings[odd] == (2, "query 'd10'")
    assert odd not in load(path="toy", policy={"drop_self": True}).warnings


def test_numbers_that_queries_share_with_documents_mean_something_when_the_text_is_shared(
    load: Load, folder: Path
) -> None:
    rows = [("1", "wing flutter"), ("2", "heat  transfer"), ("3", "")]
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "{i}", "text": "{t}"}}\n' for i, t in rows))
    rows = [("1", "what is heat"), ("2", "Heat transfer"), ("3", "")]
    (folder / "queries.jsonl").write_text("".join(f'{{"_id": "{i}", "text": "{t}"}}\n' for i, t in rows))
    (folder / "qrels" / "train.tsv").unlink()
    (folder / "qrels" / "test.tsv").write_text("1\t1\t1\n")
    odd = "query id is also a document id and policy.drop_self is off"
    assert load().warnings[odd] == (1, "query '2'")


def test_excluded_ids_of_queries_and_of_relevance_minus_100(load: Load, folder: Path) -> None:
    rows = [
        {"_id": "q1", "text": "a", "metadata": {"excluded_ids": ["d2", "N/A", "gone"]}},
        {"_id": "q3", "text": "b", "excluded_ids": ["N/A"]},
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "train.tsv").unlink()
    (folder / "qrels" / "test.tsv").write_text("q1 0 d1 1\nq1 0 d10 -100\n")
    collection = load()
    assert [codes.tolist() for codes in collection.queries.exclude] == [[1, 2], []]
    assert collection.qrels.doc.tolist() == [0]
    assert collection.warnings["excluded document that the collection lacks"] == (1, "query 'q1': 'gone'")


@pytest.mark.parametrize(
    ("name", "documents", "queries", "judgements"),
    [("scifact", 5183, 300, 339), ("nfcorpus", 3633, 323, 12334), ("limit-small", 46, 1000, 2000)],
)
def test_real_collections_have_their_published_counts(
    test_data: Path, tmp_path: Path, name: str, documents: int, queries: int, judgements: int
) -> None:
    collection = open_collection(LocalSpec(path=name), Store(tmp_path), base=test_data)
    assert len(collection.docs) == documents and len(collection.queries) == queries
    assert len(collection.qrels.doc) == judgements and collection.judged.all() and not collection.warnings


def test_cranfield_warns_of_its_two_empty_documents(test_data: Path, tmp_path: Path) -> None:
    collection = open_collection(LocalSpec(path="cranfield"), Store(tmp_path), base=test_data)
    assert collection.warnings == {"empty document": (2, "corpus.jsonl.gz:471 '471'")}


def test_unknown_irkit_id(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"irkit/limt: no such collection\n.*did you mean 'irkit/limit'"):
        open_collection("irkit/limt", store, base=tmp_path)


def test_local_id_takes_a_split_and_nothing_else(store: Store, folder: Path) -> None:
    assert open_collection(f"local:{folder}?split=train", store, base=Path()).queries.qid == ("q2",)
    with pytest.raises(DataError, match="did you mean 'split'"):
        open_collection(f"local:{folder}?splt=train", store, base=Path())
