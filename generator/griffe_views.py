"""For the API reference: members of views (`_view.View`) have types, as `index: int`.

They are descriptors, `index = required(int)`, of which the reference would otherwise show nothing.
"""

from __future__ import annotations

import ast

import griffe

NONE = " | None"
MADE_BY = {"required": "", "optional": NONE, "maybe": NONE, "Member": "", "list_of": ""}


def type_of(text: str) -> str | None:
    """The type of a member that is made like this; None for anything else."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call):
        return None
    made_by = ast.unparse(call.func).partition("[")[0]
    if made_by == "timestamp":
        return f"datetime{NONE}"
    if made_by == "anything":
        return "Any"
    if made_by not in MADE_BY:
        return None
    kind = call.args[0]
    if isinstance(kind, ast.Lambda):
        return "Any"
    if isinstance(kind, ast.Call):  # object_of(Kind), exactly(kind)
        kind = kind.args[0]
    name = ast.unparse(kind)
    return f"tuple[{name}, ...]" if made_by == "list_of" else name + MADE_BY[made_by]


class Views(griffe.Extension):
    """Gives such members their types."""

    def on_attribute(self, *, attr: griffe.Attribute, **_: object) -> None:
        """Called for each attribute that was read."""
        if (
            attr.annotation is None
            and attr.value is not None
            and isinstance(attr.parent, griffe.Class)
        ):
            kind = type_of(str(attr.value))
            if kind is not None:
                attr.annotation = kind
