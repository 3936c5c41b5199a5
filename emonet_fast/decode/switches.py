"""What a program has set for its own use of Pillow changes no result of ours.

`ImageFile.LOAD_TRUNCATED_IMAGES` would give pixels to damaged files; `Image.MAX_IMAGE_PIXELS`, which the readers of
TIFF, WebP and some GIF files ask, and a filter that makes errors of warnings would lose good ones. These are states of
the whole process, and no reader takes them as arguments: while pictures are decoded, in any thread, they have Pillow's
defaults, and then are as they were. Nothing is touched where a program has set none.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from PIL import Image, ImageFile

from ..shared import HeldSetting

_DEFAULTS = (
    (ImageFile, "LOAD_TRUNCATED_IMAGES", False),
    (Image, "MAX_IMAGE_PIXELS", (1 << 30) // 4 // 3),
)


@contextmanager
def _defaults() -> Iterator[None]:
    with ExitStack() as restore:
        for module, name, default in _DEFAULTS:
            if getattr(module, name) != default:
                restore.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, default)
        if any(action == "error" for action, *_ in warnings.filters):
            restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        yield


# Pillow decodes inside as it does by default. Thread-safe, and may be nested.
own_switches = HeldSetting(_defaults).held
