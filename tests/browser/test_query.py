"""One query under the eyes: its documents side by side, where the relevant ones went, what became of its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from made_up import MadeUp, experiment

from irkit.report.details import Details, Hits, QueryDetails, Relevant, Text

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
BOTH = "explorer?pipeline=hybrid-rerank&other=bm25"


def settled(page: Page) -> None:
    """Wait until all views have followed a choice."""
    page.wait_for_selector("html:not([data-busy])")


def test_hits_stand_side_by_side(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH + "&qid=q3")
    details = made.details[0]
    query = next(each for each in details.queries if each.qid == "q3")
    assert page.locator("#explorer-view .asked").inner_text() == query.text
    for pipeline, other in (("hybrid-rerank", "bm25"), ("bm25", "hybrid-rerank")):
        hits, theirs = query.hits[pipeline], query.hits[other]
        rows = (
            page.get_by_role("group", name=f"First documents of {pipeline}", exact=True).locator("li").all()
        )
        assert len(rows) == len(hits.docs)
        for row, doc, gain in zip(rows, hits.docs, hits.gains, strict=True):
            text = row.inner_text()
            assert row.locator(".docno").inner_text() == details.documents[doc].docno
            assert details.documents[doc].text in text.replace("\n", " ")
            mark = "· not judged" if gain is None else "✓ relevant" if gain else "✗ judged not relevant"
            assert mark in text
            if doc in theirs.docs:
                assert f"rank {theirs.docs.index(doc) + 1} there" in text
            elif gain == 1:
                last = next(each for each in query.relevant if each.doc == doc).ranks[other][-1]
                assert (f"rank {last} there" if last else "there") in text
            else:
                assert "not in the first 10 there" in text


def test_the_same_document_is_marked_in_both_lists(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH + "&qid=q3")
    query = next(each for each in made.details[0].queries if each.qid == "q3")
    doc = next(each for each in query.hits["hybrid-rerank"].docs if each in query.hits["bm25"].docs)
    row = page.locator(f"#explorer-view li[data-list=hybrid-rerank][data-doc='{doc}']")
    row.hover()
    assert set(
        page.locator("#explorer-view li.twin").evaluate_all("all => all.map((e) => e.dataset.doc)")
    ) == {str(doc)}
    assert page.locator("#explorer-view li.twin").count() == 2
    row.get_by_role("button", name="there").click()
    assert page.evaluate("[document.activeElement.dataset.list, document.activeElement.dataset.doc]") == [
        "bm25",
        str(doc),
    ]


def test_relevant_documents_are_followed_from_stage_to_stage(open_report: Any) -> None:
    made = experiment(collections=1, looked_into=None)

    # A query of which the cutoff loses a document, and of which no stage has another.
    def lost(query: QueryDetails, by_cutoff: bool) -> bool:
        return any(
            ranks[2] is not None and ranks[3] is None if by_cutoff else ranks[0] is ranks[1] is None
            for ranks in (each.ranks["hybrid-rerank"] for each in query.relevant)
        )

    details = made.details[0]
    assert any(lost(query, True) for query in details.queries)
    query = next(each for each in details.queries if lost(each, True))
    page = open_report(*made, at=f"{BOTH}&qid={query.qid}")
    rows = page.locator("#explorer-view .relevant tbody tr").all()
    for row, each in zip(rows, query.relevant, strict=True):
        cells = [text.strip() for text in row.locator("td").all_inner_texts()]
        ours, other = each.ranks["hybrid-rerank"], each.ranks["bm25"]
        assert row.locator(".docno").inner_text() == details.documents[each.doc].docno
        for cell, rank in zip([*cells[:5], cells[6]], [*ours, *other], strict=True):
            assert cell.split()[0] == (DASH if rank is None else str(rank))
        never = ours[0] is None and ours[1] is None
        cut = ours[2] is not None and ours[3] is None
        assert cells[5] == (
            "never retrieved" if never else "lost by cutoff (k=20)" if cut else f"rank {ours[-1]}"
        )
        assert cells[7] == ("never retrieved" if other[0] is None else f"rank {other[0]}")
    page.locator("#explorer-view summary", has_text="all 4 pipelines").last.click()
    last = (
        page.locator("#explorer-view table", has_text="Where each relevant document ends")
        .locator("tbody tr")
        .first
    )
    dense = query.relevant[0].ranks["dense"][0]
    assert last.locator("td").nth(1).inner_text() == (f"rank {dense}" if dense else "never retrieved")


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([5, None, None, None, None], "lost by fuse: rrf"),
        ([5, 9, 3, None, None], "lost by cutoff (k=20)"),
        ([None, 9, 3, 2, None], "lost by maxsim: minilm"),
        ([None, None, None, None, None], "never retrieved"),
        ([None, 9, 3, 2, 37], "rank 37"),
    ],
)
def test_what_lost_a_document_is_said_in_words(
    open_report: Any, made: MadeUp, ranks: list[int | None], words: str
) -> None:
    query = QueryDetails(
        qid="q3",
        text=None,
        relevant=[Relevant(doc=0, gain=2, ranks={"hybrid-rerank": ranks, "bm25": [1]})],
        more_relevant=7,
        hits={
            "bm25": Hits(docs=[0], scores=[1.5], gains=[2]),
            "hybrid-rerank": Hits(docs=[], scores=[], gains=[]),
        },
    )
    details = Details(collection="suite/set-00", documents=[Text(docno="only-an-id")], queries=[query])
    page = open_report(made.results, made.per_query, made.funnels, [details], at=BOTH + "&qid=q3")
    assert page.locator("#explorer-view .relevant .fate").first.inner_text() == words
    text = page.locator("#explorer-view .query").inner_text()
    assert "✓ relevant, grade 2" in text and "7 more are left out" in text and "It found nothing" in text
    assert page.locator("#explorer-view .hits .begin").count() == 0


def test_a_document_that_the_collection_lacks_was_not_missed(open_report: Any, made: MadeUp) -> None:
    ranks: dict[str, list[int | None]] = {"hybrid-rerank": [None] * 5, "bm25": [None]}
    query = QueryDetails(
        qid="q3",
        text=None,
        relevant=[Relevant(doc=0, gain=1, outside=True, ranks=ranks)],
        hits={name: Hits(docs=[], scores=[], gains=[]) for name in ranks},
    )
    details = Details(collection="suite/set-00", documents=[Text(docno="d99")], queries=[query])
    page = open_report(made.results, made.per_query, made.funnels, [details], at=BOTH + "&qid=q3")
    fates = page.locator("#explorer-view .relevant .fate")
    assert fates.all_inner_texts() == ["not in the collection"] * 2
    missed = page.locator("#explorer-view select[data-key=queries] option[value=missed]")
    assert missed.text_content() == "never retrieved (0)"


def test_changed_and_explained(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at="explorer?pipeline=hybrid-rerank&other=hybrid&qid=q0")
    view = page.locator("#explorer-view .query")
    assert view.locator("ins", has_text="enthalpy").first.is_visible()
    terms = view.locator(".terms li").all_inner_texts()
    assert terms[0] == "enthalpy 0.5"
    assert " ".join(terms[1].split()).endswith("(of the query) 0.25")
    assert "the gate let it through" in view.inner_text()
    saw = view.locator(".saw")
    assert "As maxsim saw it, which had it at rank 3 before" in saw.first.inner_text()
    assert saw.first.locator(".w10").inner_text().strip() == "boundary"
    assert f"flow {MINUS}0.1" in saw.first.inner_text()
    page.locator("#explorer-view select[data-key=pipeline]").select_option("dense")
    settled(page)
    view.locator(".saw").first.wait_for(state="detached")
    view.get_by_role("button", name="hybrid-rerank").click()
    view.locator(".saw").first.wait_for()


def test_all_pipelines_of_a_query(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH + "&qid=q7")
    values = {each: made.per_query[0].values[each] for each in made.results.pipelines}
    titles = page.locator("#explorer-view .dots circle title").evaluate_all(
        "all => all.map((e) => e.textContent)"
    )
    assert titles == [f"{each}: {of['ndcg@10'][7]:.4f}" for each, of in values.items()]
    page.locator("#explorer-view .all summary").click()
    rows = page.locator("#explorer-view .all tbody tr").all()
    for row, (each, of) in zip(rows, values.items(), strict=True):
        assert row.locator("th").inner_text() == each
        assert row.locator("td").all_inner_texts() == [
            f"{of[metric][7]:.4f}" for metric in ("ndcg@10", "recall@100")
        ]
