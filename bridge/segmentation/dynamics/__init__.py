"""From what Cellpose's network says to a label image: Cellpose 3's own arithmetic as compiled kernels, on all cores."""
