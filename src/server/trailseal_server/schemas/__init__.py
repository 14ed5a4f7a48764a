"""Event schemas: reading them, what is refused, what a new version may change, what they check.

- `documents`: JSON or YAML text to one JSON value, within bounds.
- `rules`: what may be registered at all, so that no schema opens a connection or takes long.
- `compatibility`: whether a version takes every event of the one before.
- `registry`: the registered versions, compiled once and kept.
"""
