"""The terms index on PostgreSQL: `terms(log_id, idx, doc)`, `doc` being a tsvector under GIN.

Rules:
- Every lexeme begins with its log's number, `7=<token>` for an exact token and `7.<word>` for a
  word: GIN keeps one list for each lexeme, so no search reads another log's lists, and exact tokens
  and words share one column and one index.
- Words are cut here and not by a text search configuration: runs of letters and digits without case
  and diacritics, as FTS5's unicode61 cuts them. Both engines find the same, whatever the
  database's locale is.
- PostgreSQL keeps 256 positions of a word and none beyond 16,383
  (postgresql.org/docs/15/textsearch-limitations.html): phrases are found up to there.
- GIN gives no order, and the planner cannot know how rare a lexeme is: see lookups.py.
"""

import re
from collections.abc import Iterable, Sequence
from struct import pack
from unicodedata import normalize

from sqlalchemy import BigInteger, Text, cast, column, func, literal, table
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from ..commitments import Prepared
from .logs import LogRow
from .search import EVERY, All, Either, Expression, Source, Tokens, Without
from .terms import BETWEEN, BREAK, Terms, find

MAX_WORD = 255  # characters of a word that count: a lexeme has at most 2,046 bytes
MAX_PLACE = 16_383  # as high as PostgreSQL's places go
MAX_PLACES = 256  # of one word

terms_index = table(
    "terms", column("log_id", Text), column("idx", BigInteger), column("doc", TSVECTOR)
)

_WORD = re.compile(rf"[^\W_]+|{BREAK}")
_WORD_OR_FREE = re.compile(r"[^\W_]+|\0")
_FREE = b"\0"  # in the place of a word
_APART = " \0 "  # BETWEEN in ASCII
_KEPT = b"\0abcdefghijklmnopqrstuvwxyz0123456789"
_WORDS_ONLY = bytes(sign if sign in _KEPT else ord(" ") for sign in bytes(range(256)).lower())
_PLACES = tuple(pack("!H", place) for place in range(MAX_PLACE + 1))
_HEADS = tuple(b"\0" + count for count in _PLACES[: MAX_PLACES + 1])  # before so many places
_HEAD = len(_HEADS[0])
_ONCE = tuple(_HEADS[1] + place for place in _PLACES[1:])
_LOG = b"\xff\xfe"  # stands for the log's number: no UTF-8 holds these bytes, and no two places
_WORD_OF, _TOKEN_OF = _LOG + b".", _LOG + b"="  # in the order of their bytes
_NOWHERE = _HEADS[0]
_NEXT = (_NOWHERE + _TOKEN_OF).decode("latin-1")
_MARKS = re.compile("[\u0300-\u036f]+")  # combining diacritics


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return [word[:MAX_WORD] for word in _WORD.findall(_folded(text))]


def derive(prepared: Prepared, ingested_by: str, channel_id: str | None) -> Terms:
    """The terms of an event as it is stored, as the document of any log: it is worked out before
    that log is locked."""
    tokens, texts, names = find(prepared, ingested_by, channel_id)
    return Terms("", "", names, _form(tokens, texts))


def document(log_no: int, terms: Terms) -> bytes:
    """The document of one log's event."""
    found = terms.document or _form(terms.exact.split(), terms.text.split(BETWEEN))
    return found.replace(_LOG, b"%d" % log_no)


def _form(tokens: Iterable[str], texts: Sequence[str]) -> bytes:
    """A tsvector in PostgreSQL's binary format, see tsvectorrecv in its source.

    That is how many lexemes there are, and of each its bytes, a zero, how many places, and those.
    In order it is taken as it is, for a third of what the text format costs. Between two texts, and
    where a BREAK stands, a place is left free.
    """
    every = _cut(texts)
    at: dict[bytes, bytes] = {}
    for word, once in zip(every, _ONCE, strict=False):
        if word not in at:
            at[word] = once
        elif word != _FREE:
            places = (at[word] + once[_HEAD:])[_HEAD : _HEAD + 2 * MAX_PLACES]
            at[word] = _HEADS[len(places) >> 1] + places
    for word in every[MAX_PLACE:]:
        at.setdefault(word, _ONCE[-1])
    at.pop(_FREE, None)
    lexemes = [word + places for word, places in at.items()]
    lexemes.sort()
    exact = sorted(set(tokens))
    count = pack("!I", len(lexemes) + len(exact))
    last = _NEXT.join(exact).encode("latin-1")
    return b"".join((count, _WORD_OF.join([b"", *lexemes]), _TOKEN_OF, last, _NOWHERE))


def _cut(texts: Sequence[str]) -> list[bytes]:
    """The words of texts, and _FREE between two texts or where a BREAK stands."""
    whole = _APART.join(texts)
    if whole.count("\0") >= len(texts) or BREAK in whole:
        whole = _APART.join([text.replace("\0", " ") for text in texts]).replace(BREAK, _APART)
    if not whole.isascii():
        whole = _folded(whole)
        if not whole.isascii():
            return [word[:MAX_WORD].encode() for word in _WORD_OR_FREE.findall(whole)]
    every = whole.encode().translate(_WORDS_ONLY).split()
    if len(whole) > MAX_WORD and max(map(len, every), default=0) > MAX_WORD:
        return [word[:MAX_WORD] for word in every]
    return every


def _folded(text: str) -> str:
    """Without case and diacritics."""
    folded = text.casefold()
    return folded if folded.isascii() else _MARKS.sub("", normalize("NFD", folded))


def tsquery(log_no: int, expression: Expression) -> str:
    """The expression as a tsquery (postgresql.org/docs/15/datatype-textsearch.html)."""
    match expression:
        case Tokens(tokens):
            return _any(f"'{log_no}={token}'" for token in tokens or ("none",))
        case Either(terms):
            return _any(tsquery(log_no, term) for term in terms)
        case All(terms):
            return f"({' & '.join(tsquery(log_no, term) for term in terms)})"
        case Without(term):
            # A negation alone would read the whole index, every log's part of it.
            return f"({tsquery(log_no, EVERY)} & !{tsquery(log_no, term)})"
    found = words(expression.text)
    if not found:
        return tsquery(log_no, Tokens(()))
    phrase = " <-> ".join(f"'{log_no}.{word}'" for word in found)
    return f"({phrase}{':*' if expression.prefix else ''})"


def source(log: LogRow, match: Expression, low: int, high: int, *, walk: bool) -> Source:
    """Where the matching events of an index range are: by GIN, which gives no order, or by reading
    the range in order (`walk`). See lookups.py for what each statement leaves to the planner."""
    query = cast(literal(tsquery(log.log_no, match), Text), TSQUERY)
    doc, index = terms_index.c.doc, terms_index.c.idx
    order = index if walk else index + 0
    matches = func.ts_match_vq(doc, query) if walk else doc.bool_op("@@")(query)
    found = (terms_index.c.log_id == log.log_id) & (order >= low) & (order < high) & matches
    return Source(terms_index, found, index, order)


def _any(parts: Iterable[str]) -> str:
    return f"({' | '.join(parts)})"
