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
- GIN gives no order, and the planner cannot know how rare a lexeme is. So reads.py reads events
  at the end that is asked for in order (what matches often is found there), and the others in no
  index's order, `idx + 0` (what matches rarely is found by GIN, then sorted).
"""

import re
from collections.abc import Iterable
from unicodedata import normalize

from sqlalchemy import BigInteger, Text, cast, column, literal, table
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from .logs import LogRow
from .search import EVERY, All, Either, Expression, Source, Tokens, Without
from .terms import BREAK, Terms

MAX_WORD = 255  # characters of a word that count: a lexeme has at most 2,046 bytes

terms_index = table(
    "terms", column("log_id", Text), column("idx", BigInteger), column("doc", TSVECTOR)
)

_WORD = re.compile(rf"[^\W_]+|{BREAK}")
_MARKS = re.compile("[\u0300-\u036f]+")  # combining diacritics


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    folded = text.casefold()
    if not folded.replace(BREAK, "").isascii():
        folded = _MARKS.sub("", normalize("NFD", folded))
    return [word[:MAX_WORD] for word in _WORD.findall(folded)]


def document(log_no: int, terms: Terms) -> str:
    """An event's terms as tsvector writes them; holds no backslash, tab or line break.

    Where a BREAK stands, a place is left free.
    """
    exact = terms.exact.replace(" ", f"' '{log_no}=")
    placed = [
        f"'{log_no}.{word}':{place}"
        for place, word in enumerate(words(terms.text), 1)
        if word != BREAK
    ]
    return " ".join([f"'{log_no}={exact}'", *placed])


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


def source(log: LogRow, match: Expression, low: int, high: int) -> Source:
    """Where the matching events of an index range are."""
    query = cast(literal(tsquery(log.log_no, match), Text), TSQUERY)
    mine, index = terms_index.c.log_id == log.log_id, terms_index.c.idx
    found = mine & (index >= low) & (index < high) & terms_index.c.doc.bool_op("@@")(query)
    return Source(terms_index, found, index, index + 0)


def _any(parts: Iterable[str]) -> str:
    return f"({' | '.join(parts)})"
