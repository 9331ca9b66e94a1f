"""What a pipeline means: which nodes, with which inputs, and which pipelines mean nothing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from toys import Toy, toy

from irkit.core.errors import ConfigError
from irkit.pipeline.graph import Node, Pipeline, Step, fuse, merged
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Stage

pytestmark = pytest.mark.usefixtures("toy_stages")


def rerank() -> Stage:
    return make_stage("toy-rerank")


def pipe(*steps: Stage | Step) -> Pipeline:
    return Pipeline(tuple(step if isinstance(step, Step) else Step(step) for step in steps))


def misfits(pipeline: Pipeline) -> list[tuple[str | None, str]]:
    with pytest.raises(ConfigError) as caught:
        pipeline.graph()
    return [(problem.where, problem.message) for problem in caught.value.problems]


def test_a_stage_alone_is_a_node_without_input() -> None:
    assert Pipeline.of(toy(k=3)).graph() == Node(toy(k=3))


def test_a_reranker_takes_the_rankings_before_it() -> None:
    assert (toy() >> rerank()).graph() == Node(rerank(), None, (Node(toy()),))


def test_equal_nodes_of_several_pipelines_are_one() -> None:
    ends = [
        (toy() >> rerank()).graph(),
        (toy() % 3).graph(),
        (toy(k=5) % 3).graph(),
        Pipeline.of(toy()).graph(),
    ]
    nodes = merged(ends)
    assert len(nodes) == 5  # toy, its reranking, its cutoff; toy(k=5), its cutoff
    assert nodes.index(ends[3]) < nodes.index(ends[0])


def test_execution_options_make_another_stage_of_the_same_meaning() -> None:
    assert toy(threads=1) != toy(threads=2)
    assert toy(threads=1).meaning() == toy(threads=2).meaning()
    assert toy(scale=1).meaning() != toy(scale=2).meaning()


def test_inputs_come_before_their_users_and_only_once() -> None:
    end = (fuse(toy() >> rerank(), toy()) >> rerank()).graph()
    walked = list(end.walk())
    assert len(walked) == len(set(walked)) == 4
    assert all(walked.index(each) < walked.index(node) for node in walked for each in node.inputs)
    assert walked[-1] == end


def test_a_query_stage_changes_the_queries_of_what_follows() -> None:
    words = make_stage("toy-words")
    end = (toy() >> make_stage("toy-feedback") >> words >> toy(k=7) >> rerank()).graph()
    first = Node(toy())
    feedback = Node(make_stage("toy-feedback"), None, (first,))
    changed = Node(words, feedback)
    assert end == Node(rerank(), changed, (Node(toy(k=7), changed),))


def test_a_reranker_after_a_query_stage_sees_new_queries_and_old_rankings() -> None:
    words = Node(make_stage("toy-words"))
    assert pipe(toy(), make_stage("toy-words"), rerank()).graph() == Node(rerank(), words, (Node(toy()),))


def test_an_empty_branch_is_what_stands_before_the_fusion() -> None:
    end = pipe(toy(), Step(make_stage("fuse"), (Pipeline(()), Pipeline.of(rerank())))).graph()
    assert end.upstream == (Node(toy()), Node(rerank(), None, (Node(toy()),)))


def test_a_branch_may_start_anew_when_another_takes_up_what_stands_before() -> None:
    end = pipe(toy(), Step(make_stage("fuse"), (Pipeline(()), Pipeline.of(toy(k=2))))).graph()
    assert end.upstream == (Node(toy()), Node(toy(k=2)))


def test_branches_see_the_queries_changed_before_the_fusion() -> None:
    step = Step(make_stage("fuse"), (Pipeline.of(toy()), Pipeline.of(toy(k=2))))
    words = Node(make_stage("toy-words"))
    assert pipe(make_stage("toy-words"), step).graph().upstream == (Node(toy(), words), Node(toy(k=2), words))


def test_a_query_stage_in_a_branch_stays_there() -> None:
    step = Step(make_stage("fuse"), (make_stage("toy-words") >> toy(), Pipeline.of(toy())))
    end = pipe(step, rerank()).graph()
    assert end.queries is None
    assert end.upstream[0].upstream[0].queries == Node(make_stage("toy-words"))
    assert end.upstream[0].upstream[1].queries is None


def test_misfits_are_all_named_with_their_places() -> None:
    broken = pipe(
        rerank(),
        Step(make_stage("fuse"), (Pipeline.of(toy()), pipe(make_stage("toy-words")))),
        make_stage("toy-words"),
    )
    assert misfits(broken) == [
        ("0.toy-rerank", "'toy-rerank' needs rankings to work on"),
        ("1.fuse.of.1", "the pipeline ends with the query stage 'toy-words'"),
        ("", "the pipeline ends with the query stage 'toy-words'"),
    ]


@pytest.mark.parametrize(
    ("pipeline", "where", "message"),
    [
        (lambda: Pipeline(()), "", "has no stage"),
        (lambda: toy() >> toy(k=2), "1.toy", "drops the rankings of 'toy'"),
        (lambda: pipe(toy(), Step(make_stage("fuse"), (pipe(toy(k=2)), pipe(toy(k=3))))), "1.fuse", "drops"),
        (lambda: toy() >> make_stage("toy-words") >> toy(), "2.toy", "drops the rankings"),
        (lambda: fuse(toy()), "0.fuse", "at least two"),
        (lambda: fuse(toy(), toy(k=2), weights=[1, 2, 3]), "0.fuse", "3 weights for 2"),
        (lambda: fuse(toy(), Pipeline(())), "0.fuse.of.1", "has no stage"),
        (lambda: fuse(toy() >> toy(k=4), toy()), "0.fuse.of.0.1.toy", "drops the rankings"),
    ],
)
def test_misfit(pipeline: object, where: str, message: str) -> None:
    found = misfits(pipeline())  # type: ignore[operator]
    assert any(place == where and message in text for place, text in found), found


def test_dropped_rankings_are_fine_when_a_query_stage_has_looked_at_them() -> None:
    (toy() >> make_stage("toy-feedback") >> toy()).graph()


# Python's operators


def test_a_sum_is_one_fusion_however_it_is_bracketed() -> None:
    a, b, c = toy(k=1), toy(k=2), toy(k=3)
    flat = Pipeline.of(fuse(a, b, c))
    sums = [a + b + c, (a + b) + c, a + (b + c), Pipeline.of(a) + (b + c), (a >> rerank()) + b]
    assert [Pipeline.of(each) for each in sums[:4]] == [flat] * 4
    assert Pipeline.of(sums[4]) == fuse(a >> rerank(), b)
    assert (a + b).graph().stage == make_stage("fuse")
    assert len((a + b + c).graph().upstream) == 3


def test_weights_stay_with_their_terms() -> None:
    a, b, c = toy(k=1), toy(k=2), toy(k=3)
    for total in (2 * a + b + 0.5 * c, a * 2 + (b + c * 0.5), Pipeline.of(a) * 2 + b + 0.5 * c):
        assert Pipeline.of(total) == fuse(a, b, c, weights=[2, 1, 0.5])
    assert Pipeline.of(a + b) != Pipeline.of(2 * a + b)
    assert Pipeline.of(0 * a + b) == fuse(a, b, weights=[0, 1])


def test_a_sum_inside_a_pipeline_is_a_fusion_of_its_own() -> None:
    a, b, c = toy(k=1), toy(k=2), toy(k=3)
    assert Pipeline.of(((a + b) % 5) + c) == fuse(fuse(a, b) % 5, c)
    assert (a + b) >> rerank() == fuse(a, b) >> rerank()
    assert Pipeline.of(2 * (a + b) + c) == fuse(fuse(a, b), c, weights=[2, 1])


def test_percent_keeps_so_many_documents() -> None:
    assert toy() % 7 == pipe(toy(), make_stage("cutoff", k=7))


def test_operators_refuse_what_is_not_a_pipeline() -> None:
    with pytest.raises(TypeError, match="2 \\* a \\+ b"):
        fuse(2 * toy(), toy())
    with pytest.raises(TypeError, match="'bm25'"):
        toy() >> "bm25"  # type: ignore[operator]
    with pytest.raises(ConfigError):
        toy() % 0


def test_the_yaml_form_leaves_out_defaults_unless_they_would_come_back_otherwise() -> None:
    assert Pipeline.of(toy()).to_data() == ["toy"]
    assert Pipeline.of(toy(k=5)).to_data() == [{"toy": {"k": 5}}]
    raw = make_stage("fuse", method="combsum", norm="none")  # left out, norm would be min-max
    (step,) = Pipeline((Step(raw, (pipe(toy()), pipe(toy(k=2)))),)).to_data()
    of = step["fuse"].pop("of")
    assert of == [["toy"], [{"toy": {"k": 2}}]]
    assert make_stage("fuse", **step["fuse"]) == raw


def test_stages_are_frozen_and_hashable() -> None:
    stage = toy(k=5)
    assert hash(stage) == hash(toy(k=5))
    with pytest.raises(ValidationError):
        stage.k = 6  # type: ignore[attr-defined]
    assert isinstance(stage, Toy)


def test_what_is_used_twice_at_every_level_is_one_node_at_every_level() -> None:
    def nested(depth: int) -> Pipeline:
        pipeline = Pipeline.of(toy(k=9))
        for _ in range(depth):
            pipeline = fuse(pipeline, pipeline % 5)
        return pipeline

    pipeline = nested(60)  # its 2**60 paths could not be walked
    end, again = pipeline.graph(), pipeline.graph()
    assert len(list(end.walk())) == 1 + 2 * 60
    assert end == again
    assert hash(end) == hash(again)
    assert len(merged([end, again])) == 1 + 2 * 60
    assert end != nested(59).graph()


def test_what_is_shared_is_still_seen_with_the_queries_of_its_place() -> None:
    step = Step(toy())
    both = (Pipeline((step,)), Pipeline((Step(make_stage("toy-words")), step)))
    node = pipe(Step(make_stage("fuse"), both)).graph()
    assert node.upstream == (Node(toy()), Node(toy(), Node(make_stage("toy-words"))))
    assert node.upstream[0] != node.upstream[1]


def test_a_misfit_in_a_shared_step_is_named_at_both_places() -> None:
    wrong = pipe(rerank())
    places = [where for where, _ in misfits(fuse(wrong, wrong))]
    assert places == ["0.fuse.of.0.0.toy-rerank", "0.fuse.of.1.0.toy-rerank"]


@pytest.mark.parametrize(
    "other",
    [
        Node(Toy(k=4)),
        Node(Toy(k=3), Node(Toy(k=3))),
        Node(Toy(k=3), None, (Node(Toy(k=3)),)),
    ],
)
def test_nodes_that_differ_in_anything_differ(other: Node) -> None:
    assert Node(Toy(k=3)) == Node(Toy(k=3)) != other
    assert Node(Toy(k=1), Node(Toy(k=3))) != Node(Toy(k=1), None, (Node(Toy(k=3)),))


def test_what_a_stage_is_hashed_by_is_worked_out_once_and_never_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, dumps = toy(k=3), []
    dump = Toy.model_dump
    monkeypatch.setattr(Toy, "model_dump", lambda self, **how: dumps.append(self) or dump(self, **how))  # type: ignore[func-returns-value]
    assert hash(stage) == hash(stage) == hash(toy(k=3))
    assert [each is stage for each in dumps] == [True, False]
    changed = stage.model_copy(update={"k": 4})
    assert (changed, hash(changed)) == (toy(k=4), hash(toy(k=4)))
    assert stage == toy(k=3)  # hashed or not
    assert "_text" not in stage.model_dump() | dict(stage)


def test_zero_and_minus_zero_are_one_option_so_one_node() -> None:
    one, other = (make_stage("toy-rerank", bonus=bonus) for bonus in (0.0, -0.0))
    assert one == other
    assert hash(one) == hash(other)
    assert len(merged([(toy() >> one).graph(), (toy() >> other).graph()])) == 2
