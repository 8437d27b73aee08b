from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bridge.assay.nuclei import cell_of_nuclei, union_of_nuclei


@settings(max_examples=200, deadline=None)
@given(arrays(np.uint16, (5, 6), elements=st.integers(0, 4)), arrays(np.uint16, (5, 6), elements=st.integers(0, 3)))
def test_a_nucleus_lies_in_the_cell_that_holds_most_of_it(nuclei: np.ndarray, cells: np.ndarray) -> None:
    expected = []
    for nucleus in np.unique(nuclei[nuclei > 0]):
        inside = cells[nuclei == nucleus]
        n = {cell: int((inside == cell).sum()) for cell in range(4)}
        best = max(n[1], n[2], n[3])
        expected.append(0 if n[0] > best else next(c for c in (1, 2, 3) if n[c] == best))
    assert cell_of_nuclei(nuclei, cells).tolist() == expected


def test_the_nuclei_of_a_cell_together() -> None:
    mean, total = union_of_nuclei(
        np.array([3, 5, 9]), np.array([5, 5, 0, 9]), np.array([10.0, 40.0, 1e9, 7.0]), np.array([100, 50, 5, 20])
    )
    np.testing.assert_allclose(mean, [np.nan, 20.0, 7.0])
    np.testing.assert_allclose(total, [np.nan, 50.0, 7.0])
