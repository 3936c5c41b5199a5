"""The published layout: a folder with the encoder and one with the heads, read and checked as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from ..files import is_file
from . import heads as heads_folder
from .encoder import check_tensors, read_preprocess, read_vision_config
from .heads import Layers
from .spec import Description, Preprocess, VisionConfig
from .tensors import EncoderFiles, SafetensorsFile

CONFIG_FILE, PREPROCESS_FILE = "config.json", "preprocessor_config.json"


@dataclass(frozen=True, slots=True)
class Published:
    """Where a checkpoint in the published layout lies; nothing has been read yet.

    Args:
        encoder: folder with config.json, preprocessor_config.json and model.safetensors (or shards and an index).
        heads: folder with model_*_best.pth, and perhaps neutral_stats_cache* and emonet_fast.json.
        source: where the checkpoint came from, for people.
        identity: repositories and commits where both are known, else "".
    """

    encoder: Path
    heads: Path
    source: str
    identity: str = ""

    def files(self) -> tuple[Path, ...]:
        """Every file that is read, each existing. Raises CheckpointError when one is missing, closed or ambiguous."""
        try:
            return self._files()
        except OSError as error:
            raise CheckpointError(
                f"{error.filename} could not be read ({error.strerror}); expected a checkpoint that you may read."
            ) from None

    def _files(self) -> tuple[Path, ...]:
        means, switches = heads_folder.find_means(self.heads), self.heads / heads_folder.SWITCHES_FILE
        configs = (self.encoder / CONFIG_FILE, self.encoder / PREPROCESS_FILE)
        for path in configs:
            if not is_file(path):
                raise CheckpointError(
                    f"{path} is missing; expected the encoder's {path.name}. The published layout has "
                    "encoder/ (config.json, preprocessor_config.json, model.safetensors) and heads/."
                )
        return (
            *configs,
            *EncoderFiles(self.encoder).paths,
            *heads_folder.find_heads(self.heads).values(),
            *([means] if means else []),
            *([switches] if is_file(switches) else []),
        )

    def read(self) -> "Contents":
        """Check everything but the values of the encoder's tensors, which stay in their files.

        Every head is read and held: 0.3 GB in the large variant. Raises CheckpointError when anything is missing,
        unknown or of the wrong size (the text names the file), and UnsafePickleError when a head is more than tensors.
        """
        self.files()
        vision = read_vision_config(self.encoder / CONFIG_FILE)
        preprocess = read_preprocess(self.encoder / PREPROCESS_FILE, vision.image_size)
        tensors = EncoderFiles(self.encoder)
        check_tensors(tensors, vision)
        return joined(vision, preprocess, tensors, self.heads, self.source)


@dataclass(frozen=True)
class Contents(Description):
    """What a published checkpoint holds.

    Args:
        tensors: the encoder's, still in their files.
        heads: each head's layers by slug, in the order of `names`.
    """

    tensors: EncoderFiles | SafetensorsFile
    heads: Mapping[str, Layers]


def joined(
    vision: VisionConfig, preprocess: Preprocess, tensors: EncoderFiles | SafetensorsFile, heads: Path, source: str
) -> Contents:
    """An encoder with the heads of a folder. Raises CheckpointError as `read` does, where the heads do not fit."""
    found = heads_folder.read_heads(heads, vision.hidden_size)
    means = heads_folder.find_means(heads)
    switches = heads_folder.read_switches(heads)
    return Contents(
        vision=vision,
        preprocess=preprocess,
        names=tuple(found),
        head_widths=heads_folder.widths_of(next(iter(found.values()))),
        neutral_means=heads_folder.read_means(means, tuple(found)) if means else None,
        l2_normalise=switches.l2_normalise,
        untrained=switches.untrained,
        source=source,
        tensors=tensors,
        heads=found,
    )
