import math

import pytest
import torch

from mmbss.engine.finite import has_nan, non_finite

MAKE = dict(
    dense=lambda values: values,
    coo=torch.Tensor.to_sparse,
    csr=torch.Tensor.to_sparse_csr,
    expanded=lambda values: values.expand(2, 2),
    float8=lambda values: values.to(torch.float8_e5m2),
    half=torch.Tensor.half,
    complex=lambda values: torch.complex(values, values),
)


@pytest.mark.parametrize('make', MAKE.values(), ids=MAKE)
def test_tensors_of_any_layout_and_dtype_are_looked_at(make):
    for value, is_nan in ((1.0, False), (math.inf, False), (math.nan, True)):
        tensor = make(torch.tensor([[0.0, value]]))
        assert non_finite(dict(a=tensor)) == ([] if math.isfinite(value) else ['a'])
        assert has_nan(tensor) == is_nan


def test_quantised_numbers_are_finite():
    assert non_finite([torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)]) == []
