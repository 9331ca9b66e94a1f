from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, pairwise
from math import comb
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.core.errors import DataError
from irkit.data.collection import Collection
from irkit.data.draws import Draws
from irkit.data.open import open_collection
from irkit.data.synthetic import SyntheticSource
from irkit.data.words import words
from irkit.store import Store


def make(tmp_path: Path, options: str = "") -> Collection:
    return open_collection(f"irkit/limit-synthetic{options}", Store(tmp_path), base=tmp_path)


def attributes(text: str, name: str) -> list[str]:
    match = re.fullmatch(rf"{re.escape(name)} likes (.+) and (.+)\.", text)
    assert match, text
    return [*match[1].split(", "), match[2]]


def groups(collection: Collection) -> list[tuple[int, ...]]:
    return [tuple(collection.qrels[query][0].tolist()) for query in range(len(collection.queries))]


@pytest.mark.parametrize(
    "options",
    [
        "",
        "?n=20&pattern=random&k=3&seed=7&queries=200",
        "?n=30&pattern=cycle&k=4&docs=50",
        "?n=31&pattern=disjoint&k=3",
        "?n=60&k=2&queries=1700&docs=61",  # more queries than nouns; documents of more than 45 attributes
    ],
)
def test_each_attribute_asked_for_is_in_exactly_its_documents(tmp_path: Path, options: str) -> None:
    collection = make(tmp_path, options)
    docs = collection.docs
    likes = [attributes(docs.body(code), docs.docno(code)) for code in range(len(docs))]
    assert all(len(set(own)) == len(own) for own in likes)
    asked = [re.fullmatch(r"Who likes (.+)\?", text) for text in collection.queries.text]
    wanted = [match[1] for match in asked if match]
    assert len(set(wanted)) == len(collection.queries)
    relevant = Counter(code for group in groups(collection) for code in group)
    assert {len(own) for own in likes} == {max(45, *relevant.values())}
    for attribute, group in zip(wanted, groups(collection), strict=True):
        assert tuple(code for code, own in enumerate(likes) if attribute in own) == group
    assert collection.qrels.gain.tolist() == [1] * len(collection.qrels.doc) and not collection.warnings


def test_the_default_is_limit_smalls_shape(tmp_path: Path) -> None:
    collection = make(tmp_path)
    assert (len(collection.docs), len(collection.queries), len(collection.qrels.doc)) == (46, 1000, 2000)
    assert collection.queries.qid[0] == "query_0" and collection.queries.qid[-1] == "query_999"
    order = {code: place for place, code in enumerate(collection.docs.source_order().tolist())}
    pairs = [tuple(sorted(order[code] for code in group)) for group in groups(collection)]
    assert pairs == list(combinations(range(46), 2))[:1000]


def test_patterns(tmp_path: Path) -> None:
    def of(options: str) -> list[set[int]]:
        collection = make(tmp_path, options)
        order = {code: place for place, code in enumerate(collection.docs.source_order().tolist())}
        return [{order[code] for code in group} for group in groups(collection)]

    assert of("?n=5&pattern=cycle&k=2") == [{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 0}]
    assert of("?n=7&pattern=disjoint&k=3") == [{0, 1, 2}, {3, 4, 5}]
    assert of("?n=4&k=3") == [{0, 1, 2}, {0, 1, 3}, {0, 2, 3}, {1, 2, 3}]
    for queries in (10, 200, comb(20, 3)):  # drawn anew, and shuffled
        drawn = of(f"?n=20&pattern=random&k=3&queries={queries}")
        assert len({frozenset(group) for group in drawn}) == queries and all(
            len(group) == 3 for group in drawn
        )
    assert of("?n=20&pattern=random&k=3&queries=200") != of("?n=20&pattern=random&k=3&queries=200&seed=1")


def test_distractors_have_unused_attributes_only(tmp_path: Path) -> None:
    collection = make(tmp_path, "?docs=300")
    asked = {text.removeprefix("Who likes ").removesuffix("?") for text in collection.queries.text}
    relevant = set(collection.qrels.doc.tolist())
    assert len(relevant) == 46 and len(collection.docs) == 300
    for code in set(range(300)) - relevant:
        assert not asked & set(attributes(collection.docs.body(code), collection.docs.docno(code)))


def test_other_spellings_are_the_same_collection_and_other_seeds_another(tmp_path: Path) -> None:
    same = {
        make(tmp_path, o).fingerprint
        for o in ("", "?", "?seed=0&n=46", "?n=46&pattern=dense&k=2&queries=1000&docs=46")
    }
    assert len(same) == 1 and make(tmp_path, "?seed=1").fingerprint not in same


def test_determinism_is_pinned(tmp_path: Path) -> None:
    """The same on every platform and Python: computed once; a change of the generator must raise its number."""
    assert (
        make(tmp_path).docs_fingerprint == "96f174c79bbcd11a68c429343249d16d96b82f9996e010451614632817947a43"
    )
    assert (
        make(tmp_path, "?n=20&pattern=random&k=3&queries=200&docs=100&seed=5").fingerprint
        == "736124a8fbdf5f709ac3afa8bb2646277163a249a70d2e35c6bb18de215ad571"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?m=3", "unknown parameter 'm'"),
        ("?patern=dense", "did you mean 'pattern'"),
        ("?n=4&n=5", "given twice"),
        ("?n=x", "n='x': Input should be a valid integer"),
        ("?pattern=dens", "'dense', 'random', 'cycle' or 'disjoint'"),
        ("?k=0", "k='0'"),
        ("?seed=-1", "seed='-1'"),
        ("?n=3&k=4", "k=4 relevant documents of n=3"),
        ("?queries=1036", "queries=1036, and the pattern dense has 1035"),
        ("?pattern=disjoint&queries=24", "the pattern disjoint has 23"),
        ("?pattern=cycle&queries=47", "the pattern cycle has 46"),
        ("?docs=45", "docs=45 is less than n=46"),
        ("?docs=1000000", "there are names for"),
        ("?n=20000&pattern=cycle&queries=20000", "20000 queries and 848 more attributes"),
    ],
)
def test_impossible_parameters(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        make(tmp_path, options)
    assert raised.value.problems[0].where == f"irkit/limit-synthetic{options}" and not list(
        tmp_path.iterdir()
    )


def test_there_are_words_for_fifty_thousand_documents() -> None:
    assert SyntheticSource("irkit/limit-synthetic?docs=50000").n_docs == 50_000


def test_words_are_unique_and_nouns_match_themselves_alone() -> None:
    lists = words()
    everything = [word.lower() for part in lists.values() for word in part]
    assert len(set(everything)) == len(everything) and len(lists["nouns"]) > 1000
    singulars = Counter(word.removesuffix("s") for word in everything)
    assert max(singulars.values()) == 1


@given(st.integers(1, 200), st.text(max_size=5))
def test_shuffle_and_sample_are_permutations(n: int, key: str) -> None:
    items = list(range(n))
    Draws(key).shuffle(items)
    assert sorted(items) == list(range(n))
    assert sorted(Draws(key).sample(range(n), n)) == list(range(n))
    assert len(set(Draws(key).sample(range(n), n // 2))) == n // 2


def test_a_sample_cannot_be_larger_than_what_it_is_drawn_from() -> None:
    with pytest.raises(ValueError, match="cannot draw 3 of 2"):
        Draws("").sample("ab", 3)


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_draws_are_uniform(seed: int) -> None:
    draws, n, count = Draws(f"{seed}"), 6, 6000
    seen = Counter(draws.below(n) for _ in range(count))
    chi2 = sum((seen[i] - count / n) ** 2 / (count / n) for i in range(n))
    assert chi2 < 35  # five degrees of freedom: exceeded with probability 1.5e-6
    assert len({(a, b) for a, b in pairwise(draws.below(n) for _ in range(2000))}) == n * n
