"""`python -m trailseal_server` is `trailseal-server`."""

from .command import main

main()
