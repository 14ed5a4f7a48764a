"""The query grammar, by examples and by properties."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trailseal_server.problems import Problem
from trailseal_server.query import MAX_CHARS, MAX_DEPTH, MAX_TERMS, parse
from trailseal_server.query_nodes import (
    And,
    Compare,
    Has,
    Match,
    Node,
    Not,
    Or,
    Prefix,
    Range,
    Text,
)

a, b, c = Text("a"), Text("b"), Text("c")


@pytest.mark.row("P-41")
@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", a),
        ("  a\t\n", a),
        ("a b", And((a, b))),
        ("a AND b", And((a, b))),
        ("a OR b", Or((a, b))),
        ("a b OR c", Or((And((a, b)), c))),
        ("a OR b c", Or((a, And((b, c))))),
        ("a (b OR c)", And((a, Or((b, c))))),
        ("((a))", a),
        ("-a", Not(a)),
        ("NOT a", Not(a)),
        ("NOT -a", Not(Not(a))),
        ("a -b", And((a, Not(b)))),
        ("-(a b)", Not(And((a, b)))),
        ("well-known", Text("well-known")),
        ('"a phrase"', Text("a phrase")),
        (r'"say \"hi\" \\ there"', Text(r'say "hi" \ there')),
        ('"OR"', Text("OR")),
        ("or", Text("or")),
        ("invo*", Prefix("invo")),
        ("invoice.deleted", Text("invoice.deleted")),
        ("action:invoice", Match("action", "contains", "invoice")),
        ('action="invoice.deleted"', Match("action", "equals", "invoice.deleted")),
        ("action=invoice.deleted", Match("action", "equals", "invoice.deleted")),
        ("action:invoice.*", Match("action", "prefix", "invoice.")),
        ('actor:"Ann Lee"', Match("actor", "contains", "Ann Lee")),
        ("actor:user:7", Match("actor", "contains", "user:7")),
        ("data.amount>100", Compare("data.amount", ">", "100")),
        ("data.amount>=-5", Compare("data.amount", ">=", "-5")),
        ("data.a.b<=1.5", Compare("data.a.b", "<=", "1.5")),
        ("data.amount:[1 TO 5]", Range("data.amount", "1", "5")),
        ("data.amount:[* TO 5]", Range("data.amount", None, "5")),
        ('received_at:["2026-01-01" TO *]', Range("received_at", "2026-01-01", None)),
        ("has:data.amount", Has("data.amount")),
        ("-has:reason", Not(Has("reason"))),
        ("target:x", Match("resource", "contains", "x")),
        ("new:x", Match("after", "contains", "x")),
        ("old:x", Match("before", "contains", "x")),
        ("status:failure", Match("outcome", "contains", "failure")),
        ("tag:env", Match("tags", "contains", "env")),
        ("actor_id=u1", Match("actor.id", "equals", "u1")),
    ],
)
def test_every_construct_of_the_grammar_gives_its_tree(text: str, tree: Node) -> None:
    """Each line of the grammar parses to the node that names it, aliases resolved."""
    assert parse(text) == tree
    assert parse(str(tree)) == tree


@pytest.mark.row("P-41")
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", 0),
        ("   ", 0),
        ("(a", 0),
        ("a)", 1),
        ("a OR", 4),
        ("AND a", 0),
        ("a AND AND b", 6),
        ("NOT", 3),
        ('"open', 0),
        ('""', 0),
        (r'"bad \n"', 0),
        ('a"b"', 1),
        ('"a"b', 3),
        ("a*b", 1),
        ("*", 0),
        ("action:", 7),
        ("action:(a b)", 7),
        ("action=a*", 7),
        ("http://example.org", 0),
        (":a", 0),
        ("1=2", 1),
        ("has:", 4),
        ("has:nothing", 4),
        ("data.x:[1 5]", 10),
        ("data.x:[1 TO 5", 14),
        ("data.x:[1* TO 5]", 8),
        ("a[0]", 1),
        ("a\x00", 1),
        ("a\ud800", 1),
        ("a" * (MAX_CHARS + 1), MAX_CHARS),
        ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), MAX_DEPTH + 1),
        ("-" * (MAX_DEPTH + 1) + "a", MAX_DEPTH + 1),
        ("a " * (MAX_TERMS + 1), 2 * MAX_TERMS),
    ],
)
def test_a_mistake_is_refused_with_its_position(text: str, at: int) -> None:
    """The error names the position and what to write, and does not repeat the query."""
    with pytest.raises(Problem) as caught:
        parse(text)
    assert caught.value.code == "query_invalid"
    assert caught.value.detail.startswith(f"position {at}: ")
    assert caught.value.errors[0].pointer == "/query"


_SYNTAX = st.lists(
    st.sampled_from(
        [*'()"*-:=<>[]. \\', " OR ", " AND ", "NOT ", " TO ", "has:", "action", "data.x", "a", "é"]
    )
).map("".join)


@settings(max_examples=500)
@given(st.one_of(st.text(), _SYNTAX))
def test_any_text_gives_a_tree_that_prints_to_itself_or_a_problem(text: str) -> None:
    """Nothing but Problem is raised; printing a tree and parsing it again is the identity."""
    with suppress(Problem):
        tree = parse(text)
        assert parse(str(tree)) == tree


_TEXT = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8).filter(str.strip)
_STEM = st.from_regex(r"[a-z0-9.-]{1,6}", fullmatch=True).filter(lambda s: s[0] != "-")
_FIELDS = st.sampled_from(["action", "outcome", "data.amount", "tags.env", "actor.id", "resource"])
_TERMS: st.SearchStrategy[Node] = st.one_of(
    st.builds(Text, _TEXT),
    st.builds(Prefix, _STEM),
    st.builds(Match, _FIELDS, st.sampled_from(["contains", "equals"]), _TEXT),
    st.builds(Match, _FIELDS, st.just("prefix"), _STEM),
    st.builds(Compare, _FIELDS, st.sampled_from([">", ">=", "<", "<="]), _TEXT),
    st.builds(Range, _FIELDS, st.none() | _TEXT, st.none() | _TEXT),
    st.builds(Has, _FIELDS),
)
_TREES = st.recursive(
    _TERMS,
    lambda below: st.one_of(
        st.builds(Not, below),
        st.builds(And, st.lists(below, min_size=2, max_size=4).map(tuple)),
        st.builds(Or, st.lists(below, min_size=2, max_size=4).map(tuple)),
    ),
    max_leaves=8,
)


@given(_TREES)
def test_printing_a_tree_and_parsing_it_again_is_the_identity(tree: Node) -> None:
    """What the printer writes, the parser reads as the same tree."""
    assert parse(str(tree)) == tree


def test_the_longest_queries_parse_in_linear_time() -> None:
    """Hostile text of the greatest length neither recurses too deep nor backtracks."""
    for text in ('"' + "\\\\" * 2000, "a." * 2000 + "=", "-" * MAX_CHARS, "(" * MAX_CHARS):
        with pytest.raises(Problem):
            parse(text)
