from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.rankings import offsets_of
from irkit.data.collection import Qrels
from irkit.data.docstore import Strings

JUDGED = st.lists(st.dictionaries(st.integers(0, 9), st.integers(-1, 3), max_size=6), max_size=6)


def make(judged: list[dict[int, int]]) -> Qrels:
    pairs = [pair for gains in judged for pair in sorted(gains.items())]
    doc, gain = (np.array([pair[i] for pair in pairs], np.int32) for i in (0, 1))
    return Qrels(offsets_of([len(gains) for gains in judged]), doc, gain, ("x",))


@given(JUDGED, st.data())
def test_take_and_judged(judged: list[dict[int, int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(judged) - 1), max_size=8)) if judged else []
    qrels = make(judged)
    assert qrels.judged.tolist() == [bool(gains) for gains in judged]
    part = qrels.take(rows)
    assert len(part) == len(rows) and part.unknown == ("x",)
    for row, place in zip(rows, range(len(part)), strict=True):
        doc, gain = part[place]
        assert dict(zip(doc.tolist(), gain.tolist(), strict=True)) == judged[row]


def test_strings_refuse_numbers_out_of_range() -> None:
    strings = Strings(b"abcd", np.array([0, 1]), np.array([1, 4]))
    assert strings.many([1, 0, 1]) == ["bcd", "a", "bcd"] and strings.many([]) == [] and strings[1] == "bcd"
    for wrong in ([2], [-1], [0, 2]):
        with pytest.raises(IndexError):
            strings.many(wrong)
    with pytest.raises(IndexError):
        strings[-1]
