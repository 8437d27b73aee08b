"""ImageJ's ROIs: traced, encoded, decoded, filled, compared."""
