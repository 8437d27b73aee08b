"""ImageJ's arithmetic: its own classes (fiji), the same in numba (native), both compared."""
