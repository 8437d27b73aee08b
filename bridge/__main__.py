"""`python -m bridge` is `cellpose-fiji`."""

from bridge.cli import main

main()
