"""What language models are asked: data only. ``{query}``, ``{context}`` and ``{document}`` are put in by the methods."""

from __future__ import annotations

GENQR = (
    "Improve the search effectiveness by suggesting expansion terms for the query",
    "Recommend expansion terms for the query to improve search results",
    "Improve the search effectiveness by suggesting useful expansion terms for the query",
    "Maximize search utility by suggesting relevant expansion phrases for the query",
    "Enhance search efficiency by proposing valuable terms to expand the query",
    "Elevate search performance by recommending relevant expansion phrases for the query",
    "Boost the search accuracy by providing helpful expansion terms to enrich the query",
    "Increase the search efficacy by offering beneficial expansion keywords for the query",
    "Optimize search results by suggesting meaningful expansion terms to enhance the query",
    "Enhance search outcomes by recommending beneficial expansion terms to supplement the query",
)
"""The instruction of GenQR, and its nine paraphrases of GenQREnsemble (Dhole and Agichtein, 2024, arXiv 2404.03746, table 1)."""

GENQR_CHAT = "{instruction}: {query}"
GENQR_FEEDBACK = "Based on the given context information {context}, {instruction}: {query}"
"""GenQREnsembleRF: with the texts of feedback documents."""

HYDE = {
    "web-search": "Please write a passage to answer the question.\nQuestion: {query}\nPassage:",
    "scifact": "Please write a scientific paper passage to support/refute the claim.\nClaim: {query}\nPassage:",
    "arguana": "Please write a counter argument for the passage.\nPassage: {query}\nCounter Argument:",
    "trec-covid": "Please write a scientific paper passage to answer the question.\nQuestion: {query}\nPassage:",
    "fiqa": "Please write a financial article passage to answer the question.\nQuestion: {query}\nPassage:",
    "dbpedia-entity": "Please write a passage to answer the question.\nQuestion: {query}\nPassage:",
    "trec-news": "Please write a news passage about the topic.\nTopic: {query}\nPassage:",
}
"""HyDE's instructions by task (Gao et al., 2023, arXiv 2212.10496; texttron/hyde, promptor.py)."""

QUERY2DOC = "Write a passage that answers the given query:\n\nQuery: {query}\nPassage:"
"""Query2doc (Wang et al., 2023, arXiv 2303.07678, table 1) without the four examples from MS MARCO's training queries."""
QUERY2DOC_EXAMPLE = "Query: {query}\nPassage: {passage}\n\n"

MUGI_SYSTEM = (
    "You are PassageGenGPT, an AI capable of generating concise, informative, and clear pseudo passages "
    "on specific topics."
)
MUGI = (
    "Generate one passage that is relevant to the following query: '{query}'. "
    "The passage should be concise, informative, and clear"
)
"""MuGI, zero-shot (Zhang et al., 2024, arXiv 2401.06311; lezhang7/Retrieval_MuGI, utils.py), without its started answer."""

COT_SYSTEM = "You are a helpful assistant"
COT = (
    "{query}\n\n"
    "Instructions:\n"
    "1. Identify the essential problem.\n"
    "2. Think step by step to reason and describe what information could be relevant and helpful to address the questions "
    "in detail.\n"
    "3. Draft an answer with as many thoughts as you have.\n"
)
"""BRIGHT's reasoning (Su et al., 2025, arXiv 2407.12883; xlang-ai/BRIGHT, reason.py); line breaks of the query become spaces."""

FEATURES = {
    "keywords": "List the most important keywords of the following passage, separated by commas. Write nothing else.",
    "entities": "List the named entities of the following passage, separated by commas. Write nothing else.",
    "summary": "Summarise the following passage in one or two sentences.",
    "cot-keywords": (
        "Think step by step about what the following passage is about and for which questions it would be relevant, "
        "then list the keywords that describe it."
    ),
    "essay": "Write a short essay on the topic of the following passage.",
    "facts": "List the facts that the following passage states, one a line.",
    "queries": "List questions that the following passage answers, one a line.",
}
"""Kinds of query-independent features after PromptPRF (Li et al., 2025, arXiv 2503.14887); the wording is irkit's."""
FEATURE = "{instruction}\n\nPassage: {document}"
FEEDBACK = "{query}\n\n{label} of relevant passages:\n{features}"
"""The query with the features of its feedback documents."""
