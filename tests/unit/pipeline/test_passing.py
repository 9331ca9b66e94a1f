"""Forms of a query that no later stage takes, that the next one drops, or that mean something else to it."""

from __future__ import annotations

import pytest
from toys import toy

from irkit.core.errors import ConfigError
from irkit.pipeline.graph import fuse
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Stage

pytestmark = pytest.mark.usefixtures("toy_stages")


def rerank() -> Stage:
    return make_stage("toy-rerank")


def terms(**options: object) -> Stage:
    return make_stage("rm3", **options)


def prf(**options: object) -> Stage:
    return make_stage("vector-prf", **options)


def ance() -> Stage:
    return prf(method="ance-prf", checkpoint="c")


def weighing() -> Stage:
    return make_stage("bm25", query_side=True)


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda: toy() >> terms() >> rerank(),
        lambda: toy() >> terms() >> make_stage("cutoff", k=3),
        lambda: toy() >> terms() >> make_stage("reset") >> make_stage("bm25"),
        lambda: toy() >> terms() >> make_stage("toy-words") >> make_stage("bm25"),
        lambda: fuse(toy() >> terms() >> rerank(), make_stage("bm25")),
    ],
)
def test_a_form_of_the_query_that_no_later_stage_takes_is_a_misfit(pipeline: object) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline().graph()  # type: ignore[operator]
    (problem,) = caught.value.problems
    assert str(problem.where).endswith("1.rm3")
    assert "no stage after 'rm3' takes the terms" in problem.message


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda: toy() >> terms() >> make_stage("bm25"),
        lambda: toy() >> terms() >> make_stage("bm25") >> make_stage("reset") >> rerank(),
        lambda: toy() >> terms() >> fuse(make_stage("bm25"), toy(k=3)),
        lambda: make_stage("adapter", path="a") >> make_stage("adapter", path="b") >> make_stage("dense"),
        lambda: (
            toy() >> prf() >> fuse(make_stage("dense"), make_stage("lexsembridge") >> make_stage("dense"))
        ),
        lambda: make_stage("lexsembridge") >> make_stage("adapter", path="a") >> make_stage("dense"),
        lambda: toy() >> terms() >> fuse(make_stage("bm25"), make_stage("reset") >> weighing()),
        lambda: make_stage("toy-words") >> toy() >> make_stage("reset") >> rerank(),
    ],
)
def test_a_form_that_some_later_stage_takes_is_fine(pipeline: object) -> None:
    pipeline().graph()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("pipeline", "message", "hint"),
    [
        (
            lambda: toy() >> prf() >> make_stage("lexsembridge") >> make_stage("dense"),
            "no stage after 'vector-prf' takes the vector",
            "'lexsembridge' makes a vector of the text, and drops this one",
        ),
        (
            lambda: toy() >> prf() >> ance() >> make_stage("dense"),
            "no stage after 'vector-prf' takes the vector",
            "'vector-prf' makes a vector of the text, and drops this one",
        ),
        (
            lambda: toy() >> terms() >> make_stage("toy-words") >> make_stage("bm25"),
            "no stage after 'rm3' takes the terms",
            "'toy-words' gives the query its text anew",
        ),
        (
            lambda: make_stage("toy-words") >> make_stage("reset") >> toy(),
            "no stage after 'toy-words' takes the text",
            "'reset' gives the query its text anew",
        ),
        (
            lambda: make_stage("maxsim") >> make_stage("colbert-prf") >> make_stage("colberter"),
            "no stage after 'colbert-prf' takes the tokens",
            "maxsim tokens",
        ),
    ],
)
def test_a_form_that_the_next_stage_drops_is_a_misfit(pipeline: object, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline().graph()  # type: ignore[operator]
    (problem,) = caught.value.problems
    assert message in problem.message
    assert hint in str(problem.hint)


@pytest.mark.parametrize(
    ("pipeline", "where", "message", "hint"),
    [
        (
            lambda: toy() >> terms() >> make_stage("bm25", analyzer="whitespace"),
            "2.bm25",
            "'bm25' has analyzer: \"whitespace\", and 'rm3', whose terms it takes, has analyzer: \"porter\"",
            "the same analyzer",
        ),
        (
            lambda: (
                toy() >> terms() >> make_stage("rocchio", analyzer="fr") >> make_stage("bm25", analyzer="fr")
            ),
            "2.rocchio",
            "'rocchio' has analyzer: \"fr\"",
            "the same analyzer",
        ),
        (
            lambda: toy() >> prf() >> make_stage("dense", similarity="dot"),
            "2.dense",
            "'dense' has similarity: \"dot\", and 'vector-prf', whose vector it takes, has similarity: null",
            "the same similarity",
        ),
        (
            lambda: make_stage("lexsembridge", model="a", dtype="float16") >> make_stage("dense", model="b"),
            "1.dense",
            'has model: "b", dtype: "float32"',
            "the same model and dtype",
        ),
        (
            lambda: (
                make_stage("maxsim")
                >> make_stage("colbert-prf")
                >> fuse(make_stage("maxsim"), make_stage("xtr", tokens={"dim": 8}))
            ),
            "2.fuse.of.1.0.xtr",
            "'colbert-prf', whose tokens it takes",
            "the same tokens",
        ),
        (
            lambda: toy() >> terms() >> weighing(),
            "2.bm25",
            "'bm25' takes no terms with query_side: true, and 'rm3' gives the query some",
            "put reset before it",
        ),
        (
            lambda: toy() >> terms() >> fuse(make_stage("bm25"), weighing()),
            "2.fuse.of.1.0.bm25",
            "takes no terms with query_side: true",
            "put reset before it",
        ),
    ],
)
def test_a_form_that_means_something_else_to_its_taker_is_a_misfit(
    pipeline: object, where: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline().graph()  # type: ignore[operator]
    (problem,) = caught.value.problems
    assert problem.where == where
    assert message in problem.message
    assert hint in str(problem.hint)
