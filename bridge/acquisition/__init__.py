"""How the images were taken: what weakens their numbers, field by field."""
