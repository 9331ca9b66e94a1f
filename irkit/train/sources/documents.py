"""The documents of a recipe's sources under one numbering: whole, without their titles, or a part of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from irkit.data.collection import Collection
from irkit.data.tasks_views import body_of, cut, long_enough, plain
from irkit.train.sources.options import DataSource

BODY, REST = (-1, -1), (-2, -1)
"""The places of texts that are no whole documents: a body without its title, and one without a sentence, too."""


class Documents:
    """Numbers documents from 0 on in the order in which they are asked for; the same document has one number.

    Attributes:
        titles: of each; "" for those that are read without.
        bodies: of each.
        places: the number of the source and the code of each; :data:`BODY` or :data:`REST` for a part of a document.
        groups: of each a number that a document and its parts share.
    """

    def __init__(self) -> None:
        self.titles, self.bodies = list[str](), list[str]()
        self.places = list[tuple[int, int]]()
        self.groups = list[int]()
        self._numbers = dict[tuple[str, int] | bytes, int]()
        self._known = dict[tuple[str, int], int]()

    def __len__(self) -> int:
        return len(self.bodies)

    def whole(self, source: int, collection: Collection, code: int) -> int:
        """Return the number of a document of a collection, as it is."""
        docs = collection.docs
        key = (collection.docs_fingerprint, code)
        if key in self._numbers:
            return self._numbers[key]
        return self._add(key, docs.title(code), docs.body(code), (source, code), key)

    def part(self, text: str, collection: Collection, code: int) -> int:
        """Return the number of a text without a title, of a document: copies, but for case and spaces, have one number."""
        key = plain(text)
        if key in self._numbers:
            return self._numbers[key]
        place = BODY if text == body_of(collection.docs, code) else REST
        return self._add(key, "", text, place, (collection.docs_fingerprint, code))

    def texts(self) -> list[str]:
        """Return the texts as retrievers read them: "title body"."""
        pairs = zip(self.titles, self.bodies, strict=True)
        return [f"{title} {body}" if title and body else title or body for title, body in pairs]

    def _add(
        self, key: tuple[str, int] | bytes, title: str, body: str, place: tuple[int, int], of: tuple[str, int]
    ) -> int:
        self._numbers[key] = len(self.bodies)
        self.groups.append(self._known.setdefault(of, len(self._known)))
        self.titles.append(title)
        self.bodies.append(body)
        self.places.append(place)
        return self._numbers[key]


Reading = Callable[[int], str | None]
"""Given a code, the text that a source reads of the document; None where that is too short."""


def whole_of(collection: Collection) -> Reading:
    """Return what reads whole documents."""
    return collection.docs.text


def part_of(collection: Collection, source: DataSource, seed: int) -> Reading:
    """Return what reads documents without their titles; for inverse-cloze without a sentence each, those that a query is compared
    with as the one that it asks for, which would be the shorter one otherwise, and the only one with a gap.
    """

    def body(code: int) -> str | None:
        found = body_of(collection.docs, code)
        return found if long_enough(found) else None

    def rest(code: int) -> str | None:
        found = cut(body_of(collection.docs, code), seed)
        return found[1] if found else None

    return rest if source.task == "inverse-cloze" else body


def digests(read: Reading) -> Callable[[int], bytes | None]:
    """Return what gives a document's digest as it is read, that of its copies too; None where it is too short."""

    @cache
    def digest(code: int) -> bytes | None:
        text = read(code)
        return None if text is None else plain(text)

    return digest


def others(codes: Sequence[int], own: Sequence[int], digest: Callable[[int], bytes | None]) -> list[int]:
    """Return the codes whose documents are no copies of ``own`` nor of one before them, and not too short."""
    seen: set[bytes | None] = {None, *map(digest, own)}
    found = []
    for code in codes:
        key = digest(code)
        if code not in own and key not in seen:
            seen.add(key)
            found.append(code)
    return found
