"""ColBERT checkpoints in the formats of Stanford and PyLate, against a plain reading of the ColBERT paper
(Khattab and Zaharia, arXiv 2004.12832, section 3.2): BertModel of transformers, one text at a time, without padding."""

from __future__ import annotations

import json
import shutil
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import WORDS

from irkit.core.errors import ConfigError, ModelError
from irkit.models import resolve
from irkit.models.encoder import Encoder
from irkit.models.kinds import model_type

FORMATS = ["tiny_stanford", "tiny_pylate"]
MARKERS = {
    "tiny_stanford": {"query": "[unused0]", "document": "[unused1]"},
    "tiny_pylate": {"query": "[Q] ", "document": "[D] "},
}
QUERY, DOCUMENT = 32, 20


def load(path: Path, **options: Any) -> Encoder:
    return Encoder(resolve(str(path)), **{"device": "cpu", **options})


def projection(folder: Path) -> Any:
    from safetensors.torch import load_file

    inline = folder / "1_Dense" / "model.safetensors"
    return load_file(inline if inline.is_file() else folder / "model.safetensors")["linear.weight"]


def reference(folder: Path, text: str, side: str, marker: str, length: int = DOCUMENT) -> NDArray[np.float64]:
    """[CLS] marker text [SEP]; a query is filled with [MASK], which nothing attends to and which all count; of a
    document, punctuation does not count."""
    import torch
    from transformers import AutoTokenizer, BertModel

    tokeniser = AutoTokenizer.from_pretrained(folder)
    room = (QUERY if side == "query" else length) - 3
    words = tokeniser.encode(text, add_special_tokens=False)[:room]
    ids = [tokeniser.cls_token_id, tokeniser.convert_tokens_to_ids(marker), *words, tokeniser.sep_token_id]
    attended = len(ids)
    if side == "query":
        ids += [tokeniser.mask_token_id] * (QUERY - len(ids))
    mask = torch.tensor([[1] * attended + [0] * (len(ids) - attended)])
    bert = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.inference_mode():
        hidden = bert(input_ids=torch.tensor([ids]), attention_mask=mask).last_hidden_state[0]
    vectors: NDArray[np.float64] = (hidden @ projection(folder).T).double().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    skipped = set(tokeniser.convert_tokens_to_ids(list(string.punctuation))) if side == "document" else set()
    return vectors[[i not in skipped for i in ids]]


def texts(n: int, longest: int) -> list[str]:
    rng = np.random.default_rng(n)
    long = [
        " ".join(rng.choice([*WORDS, ",", "cats", "fishing"], rng.integers(0, longest))) for _ in range(n)
    ]
    return ["Red dogs, cats!", "sun-moon.", "", *long]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("side", ["query", "document"])
def test_token_vectors_are_those_of_the_paper(name: str, side: Any, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    some = texts(6, 45)
    encoder = load(folder, batch_size=4)
    tokens = encoder.tokens(some, side)
    assert encoder.multi_vector
    assert encoder.token_dim == 16
    for i, text in enumerate(some):
        expected = reference(folder, text, side, MARKERS[name][side])
        assert tokens[i].shape == expected.shape
        np.testing.assert_allclose(tokens[i], expected, atol=3e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_queries_are_filled_up_whatever_the_limit_of_documents(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    some = ["cat", " ".join(["dog"] * 60)]
    expected = load(folder).tokens(some, "query")
    assert np.diff(expected.offsets).tolist() == [QUERY, QUERY]
    short = load(folder, max_length=7)
    assert np.array_equal(short.tokens(some, "query").vectors, expected.vectors)
    assert np.diff(short.tokens(some, "document").offsets).tolist() == [4, 7]


@pytest.mark.parametrize("name", FORMATS)
def test_documents_may_be_as_long_as_the_model_has_positions(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    text = " ".join(["dog cat"] * 40)
    for length in (50, 64):  # no multiple of the width that texts are padded to, and all there are
        found = load(folder, max_length=length).tokens([text], "document").vectors
        assert len(found) == length
        np.testing.assert_allclose(
            found, reference(folder, text, "document", MARKERS[name]["document"], length), atol=3e-6
        )
    with pytest.raises(ConfigError, match="at most 64"):
        load(folder, max_length=65)


@pytest.mark.parametrize("name", FORMATS)
def test_a_vector_does_not_depend_on_its_companions(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    some = texts(30, 40)
    for side in ("query", "document"):
        expected = load(folder, batch_size=32).tokens(some, side).vectors  # type: ignore[arg-type]
        for batch_size, threads in [(1, 1), (7, 2)]:
            found = load(folder, batch_size=batch_size, threads=threads).tokens(some, side)  # type: ignore[arg-type]
            assert np.array_equal(found.vectors, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_special_tokens_are_the_model_s_own_affair(name: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(ConfigError, match="decides itself"):
        load(request.getfixturevalue(name)).tokens(["cat"], "query", special=False)


@pytest.mark.parametrize("name", FORMATS)
def test_markers_masks_and_ends_are_no_words(name: str, request: pytest.FixtureRequest) -> None:
    encoder = load(request.getfixturevalue(name))
    document = encoder.tokens(["cats, dog"], "document", words=True).words
    assert document is not None
    cats, again, dog = document[2:5]
    assert document.tolist() == [0, 0, cats, again, dog, 0]  # the comma does not count
    assert cats == again != dog
    query = encoder.tokens(["dog cats"], "query", words=True).words
    assert query is not None
    assert query.tolist() == [0, 0, dog, cats, cats, *[0] * 27]


def test_a_query_prompt_of_the_user_s_replaces_the_marker(tiny_pylate: Path) -> None:
    bare = load(tiny_pylate, prompts={"document": ""}).tokens(["cat"], "document")
    assert np.diff(bare.offsets).tolist() == [3]


def test_a_stanford_checkpoint_without_metadata_has_the_usual_settings(
    tiny_stanford: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_stanford, tmp_path / "model"))
    (copy / "artifact.metadata").unlink()
    found = load(copy).tokens(["red cat."], "query").vectors
    np.testing.assert_allclose(found, reference(copy, "red cat.", "query", "[unused0]"), atol=3e-6)


def test_another_module_of_pylate_s_is_refused(tiny_pylate: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_pylate, tmp_path / "model"))
    modules = json.loads((copy / "modules.json").read_text())
    modules[1]["type"] = "pylate.models.Dense.Other"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"pylate\.models\.Dense\.Other"):
        load(copy)


def test_kinds_are_told_apart(tiny_stanford: Path, tiny_pylate: Path) -> None:
    assert model_type(tiny_stanford) == model_type(tiny_pylate) == "MultiVectorEncoder"
