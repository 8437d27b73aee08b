"""Image files: read, checked, written; label images read, written, found."""
