"""Which captured size serves a batch, for any largest size and any batch."""

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.backends.cuda.graphs import Graphs, call_directly


@given(largest=st.integers(1, 300), n=st.integers(1, 300))
def test_smallest_size_that_holds_the_batch(largest, n):
    graphs = Graphs(call_directly, lambda size: None, largest)
    assert graphs.sizes == tuple(sorted(set(graphs.sizes)))
    assert graphs.sizes[-1] == largest
    if n > largest:
        with pytest.raises(ValueError, match=f"expected 1 to {largest}"):
            graphs.size_for(n)
    else:
        size = graphs.size_for(n)
        assert size >= n
        assert not [other for other in graphs.sizes if n <= other < size]
