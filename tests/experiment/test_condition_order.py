from __future__ import annotations

import pytest

from bridge.errors import InputError
from bridge.experiment.condition_order import control_of, ordered, require_condition


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["Drug_A_10uM", "Drug_A_1uM", "DMSO", "Drug_A_0.5uM"], ["DMSO", "Drug_A_0.5uM", "Drug_A_1uM", "Drug_A_10uM"]),
        (["1 µM", "500 nM", "2,5 µM", "10 pM"], ["10 pM", "500 nM", "1 µM", "2,5 µM"]),
        (["10 Gy", "2 Gy", "untreated"], ["untreated", "2 Gy", "10 Gy"]),
        (["b-AZT50uM", "b-DMSO", "dTQX10uM"], ["b-DMSO", "b-AZT50uM", "dTQX10uM"]),
        (["siRNA_2", "siRNA_10", "mock"], ["mock", "siRNA_2", "siRNA_10"]),
    ],
)
def test_the_control_comes_first_and_doses_by_their_amount(conditions: list[str], expected: list[str]) -> None:
    assert ordered(conditions, [], control_of(conditions, None)) == expected


def test_as_asked() -> None:
    assert ordered(["A", "B", "DMSO"], ["B"], "DMSO") == ["DMSO", "B", "A"]
    assert ordered(["A", "B", "DMSO"], ["B", "DMSO"], "DMSO") == ["B", "DMSO", "A"]
    assert control_of(["A", "B"], "B") == "B"
    assert control_of(["DMSO", "Control_noEdU"], None, "Control_noEdU") == "DMSO"
    assert control_of(["Controlled", "Mocking"], None) is None
    with pytest.raises(InputError) as refused:
        require_condition(["A", "B"], "<script>", "--edu-control")
    assert str(refused.value) == ("--edu-control <script>: no such condition (got A, B). Give the name of one of them.")
