"""`python -m trailseal`: the same as the command `trailseal`."""

from .cli import main

main()
