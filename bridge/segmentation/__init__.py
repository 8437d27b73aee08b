"""Cellpose: models, networks, masks, training of a network. What a version can do is asked here only."""
