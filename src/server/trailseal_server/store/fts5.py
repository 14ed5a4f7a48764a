"""The terms index on SQLite: the contentless FTS5 table `terms(exact, text)`, see terms.py."""

from collections.abc import Iterable

from sqlalchemy import BigInteger, Text, column, literal_column, table

from .logs import LogRow
from .search import EVERY, All, Either, Expression, Source, Tokens, Without, Words
from .terms import row_id

terms_index = table("terms", column("rowid", BigInteger))  # its columns are MATCHed

_NOTHING = 'exact:"none"'  # no token: those have 20 characters


def fts5(expression: Expression) -> str:
    """The expression as an FTS5 MATCH (sqlite.org/fts5.html, section 3)."""
    match expression:
        case Tokens(tokens):
            return _any(f'exact:"{token}"' for token in tokens) if tokens else _NOTHING
        case Words(text, prefix):
            quoted = text.replace('"', " ")  # no word of the index holds a quote
            return f'text:"{quoted}"{"*" if prefix else ""}'
        case Either(terms):
            return _any(map(fts5, terms))
        case All(terms):
            wanted = [fts5(term) for term in terms if not isinstance(term, Without)]
            unwanted = [fts5(term.term) for term in terms if isinstance(term, Without)]
            found = f"({' AND '.join(wanted)})" if wanted else fts5(EVERY)
            return f"({found} NOT {_any(unwanted)})" if unwanted else found
        case Without(term):
            return f"({fts5(EVERY)} NOT {fts5(term)})"


def source(log: LogRow, match: Expression, low: int, high: int) -> Source:
    """Where the matching events of an index range are: FTS5 streams in the order of its row ids,
    and no event row can be turned into a MATCH's row id."""
    base = row_id(log.log_no, 0)
    within = terms_index.c.rowid.between(base + low, base + high - 1)
    matching = literal_column("terms", Text).bool_op("MATCH")(fts5(match)) & within
    return Source(terms_index, matching, terms_index.c.rowid - base, terms_index.c.rowid)


def _any(parts: Iterable[str]) -> str:
    joined = list(parts)
    return joined[0] if len(joined) == 1 else f"({' OR '.join(joined)})"
