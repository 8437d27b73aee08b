"""`python -m bridge` is `cellpose-fiji`."""

from bridge.cli.entry import main

main()
