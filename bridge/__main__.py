"""`python -m bridge` is `cellpose-fiji`."""

from bridge.cli.main import main

main()
