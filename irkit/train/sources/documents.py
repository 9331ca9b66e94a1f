"""The documents of a recipe's sources under one numbering: whole, without their titles, or a part of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from irkit.data.collection import Collection
from irkit.data.tasks_views import body_of, long_enough, plain

NOWHERE = (-1, -1)
"""The place of a text that is no whole document."""


class Documents:
    """Numbers documents from 0 on in the order in which they are asked for; the same document has one number.

    Attributes:
        titles: of each; "" for those that are read without.
        bodies: of each.
        places: the number of the source and the code of each, :data:`NOWHERE` for a part of a document.
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
        return self._add(key, "", text, NOWHERE, (collection.docs_fingerprint, code))

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


def whole_digests(collection: Collection) -> Callable[[int], bytes | None]:
    """Return what gives a document's digest, that of its copies too."""
    return cache(lambda code: plain(collection.docs.text(code)))


def body_digests(collection: Collection) -> Callable[[int], bytes | None]:
    """Return what gives the digest of a document without its title; None for a body too short to be read as a document."""

    @cache
    def digest(code: int) -> bytes | None:
        body = body_of(collection.docs, code)
        return plain(body) if long_enough(body) else None

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
