"""Rows of equal support go in one batch, padded with what changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.compress.linalg import (
    cholesky,
    gather_square,
    inverse,
    inverse_diagonal,
    on_device,
    support_batches,
)
from pipeline.errors import CalibrationError, DeviceError


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=12),
    st.sampled_from([1, 300, 1000, 1 << 20]), st.permutations(range(6)),
)
def test_batches_hold_every_row_once_with_its_support_in_order(
    rows: list[list[bool]], max_bytes: int, order: list[int]
) -> None:
    found: dict[int, list[int]] = {}
    batches = support_batches(torch.tensor(rows), max_bytes, torch.tensor(order))
    for batch_rows, support, valid in batches:
        assert len(batch_rows) == 1 or support.shape[1] ** 2 * 8 * len(batch_rows) <= max_bytes
        for row, columns, is_valid in zip(batch_rows, support, valid, strict=True):
            assert int(row) not in found
            found[int(row)] = columns[is_valid].tolist()
    assert found == {
        n: [column for column in order if row[column]] for n, row in enumerate(rows) if any(row)
    }


def test_columns_ascend_where_no_order_is_given() -> None:
    ((_, support, _),) = support_batches(torch.tensor([[True, False, True, True]]), 1000)
    assert support.tolist() == [[0, 2, 3]]


def test_padding_of_a_gathered_square_is_the_identity() -> None:
    H = torch.arange(16.0, dtype=torch.float64).reshape(4, 4)
    support = torch.tensor([[1, 3], [2, 0]])
    valid = torch.tensor([[True, True], [True, False]])
    square = gather_square(H, support, valid)
    assert square.tolist() == [[[5.0, 7.0], [13.0, 15.0]], [[10.0, 0.0], [0.0, 1.0]]]


def test_inverses_are_those_of_numpy() -> None:
    A = np.random.default_rng(0).normal(size=(3, 20, 6))
    H = A.transpose(0, 2, 1) @ A
    expected = np.linalg.inv(H)
    assert np.allclose(inverse(torch.from_numpy(H)).numpy(), expected, rtol=1e-9)
    assert np.allclose(
        inverse_diagonal(H), np.diagonal(expected, axis1=1, axis2=2), rtol=1e-9)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_one_bad_matrix_of_a_batch_is_refused(bad: float) -> None:
    H = torch.eye(3, dtype=torch.float64).repeat(4, 1, 1)
    assert torch.equal(cholesky(H), H)
    H[2, 1, 1] = bad
    with pytest.raises(CalibrationError, match="not positive definite after damping"):
        cholesky(H)


def test_the_cpu_is_always_there() -> None:
    assert on_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="compress.device"):
        on_device("cuda")
