"""A class for every cell: features, a classifier that can be read, its validation."""
