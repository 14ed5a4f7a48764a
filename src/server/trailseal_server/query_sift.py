"""What the stored bytes of all matches of a term hold: databases sift events by it, unparsed.

Rules:
- JCS writes a member as `"name":`, and no string holds that, for its quotes are escaped. A member's
  name may hold dots: of a longer path, all matches hold its last name at the end of a member's.
- A number behind such a name lies within the bounds. What else is there (an array, a text that may
  match, several members of the name) passes: whose member it is, and what it means,
  query_evaluate.py sees.
- How databases are asked is said in store/sifting.py.
"""

from math import inf, isfinite
from typing import NamedTuple

from .query_evaluate import BodyLeaf, number_of
from .query_nodes import Compare, Has, Match, Range

SLACK = 1e-9  # of a bound: a database may read a number's last digit otherwise


class Sift(NamedTuple):
    """Events that hold this member, `"name":` or `name":`; where a bound is given, with a number
    of [low, high] or an array, or else (`texts`) with something that is no number."""

    member: str
    low: float | None = None
    high: float | None = None
    texts: bool = False


def sift_of(term: BodyLeaf) -> Sift | None:
    """What to ask a database for; None where bytes tell nothing."""
    root, _, path = term.field.partition(".")
    if not path or root == "tags":  # a tag is `key:value`, wherever its key ends
        return None
    dotted, _, name = path.rpartition(".")
    low: float | None = None
    high: float | None = None
    match term:
        case Match(_, _, text):
            low = high = number_of(text)
        case Compare(_, ">" | ">=", text):
            low = number_of(text)
        case Compare(_, _, text):
            high = number_of(text)
        case Range(_, first, last):
            low, high = (None if end is None else number_of(end) for end in (first, last))
        case Has():
            pass
    member, texts = f'{name}":' if dotted else f'"{name}":', isinstance(term, Match)
    return Sift(member, _beside(low, -1), _beside(high, 1), texts)


def _beside(bound: float | None, side: int) -> float | None:
    """The bound, a little further out."""
    if bound is None:
        return None
    try:
        near = float(bound)
    except OverflowError:  # an integer beyond all floats
        near = inf if bound > 0 else -inf
    return near + side * SLACK * abs(near) if isfinite(near) else near
