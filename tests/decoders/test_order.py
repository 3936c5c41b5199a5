"""The order in which Pillow resizes the axes, which a resize on a GPU must follow."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.decoders.dali.exact import rows_first


@settings(deadline=None, max_examples=60)
@given(width=st.integers(1, 200), height=st.integers(1, 400), size=st.sampled_from([24, 64]), seed=st.integers(0, 9))
@example(width=64, height=66, size=64, seed=0)
@example(width=96, height=128, size=64, seed=0)
@example(width=96, height=129, size=64, seed=0)
def test_the_order_of_the_axes_is_pillows(width, height, size, seed):
    """The rule is Pillow's behaviour: whoever changes it there is found out here."""
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    between = (width, size) if rows_first(height, width, size) else (size, height)
    by_hand = noise.resize(between, Image.Resampling.BILINEAR).resize((size, size), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(noise.resize((size, size), Image.Resampling.BILINEAR)), by_hand)
