"""The rooms of `AsyncClient`: the calls that belong together, and what they return.

`make generate` makes `_blocking`, the rooms of `Client`, of these.
"""
