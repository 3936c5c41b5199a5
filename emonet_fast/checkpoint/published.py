"""The published layout: a folder with the encoder and one with the heads, read and checked as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from . import heads as heads_folder
from .encoder import check_tensors, read_preprocess, read_vision_config
from .spec import Preprocess, VisionConfig
from .tensors import EncoderFiles

CONFIG_FILE, PREPROCESS_FILE = "config.json", "preprocessor_config.json"


@dataclass(frozen=True, slots=True)
class Published:
    """Where a checkpoint in the published layout lies; nothing has been read yet.

    encoder: folder with config.json, preprocessor_config.json and model.safetensors (or shards and index).
    heads: folder with model_*_best.pth, perhaps neutral_stats_cache* and emonet_fast.json.
    source: where it came from, for people. identity: repositories and commits where both are known, else "".
    """

    encoder: Path
    heads: Path
    source: str
    identity: str = ""

    def files(self) -> tuple[Path, ...]:
        """Every file that is read, each existing.

        Raises:
            CheckpointError: one is missing or ambiguous.
        """
        means, switches = heads_folder.find_means(self.heads), self.heads / heads_folder.SWITCHES_FILE
        configs = (self.encoder / CONFIG_FILE, self.encoder / PREPROCESS_FILE)
        for path in configs:
            if not path.is_file():
                raise CheckpointError(
                    f"{path} is missing; expected the encoder's {path.name}. The published layout has "
                    "encoder/ (config.json, preprocessor_config.json, model.safetensors) and heads/."
                )
        return (
            *configs,
            *EncoderFiles(self.encoder).paths,
            *heads_folder.find_heads(self.heads).values(),
            *([means] if means else []),
            *([switches] if switches.exists() else []),
        )

    def read(self) -> "Contents":
        """Check everything but the values of the encoder's tensors, which stay in their files.

        Reads every head (7 MB each in the large variant), one at a time.

        Raises:
            CheckpointError: anything missing, unknown or of the wrong size; the text names the file.
            UnsafePickleError: a head is more than tensors.
        """
        self.files()
        vision = read_vision_config(self.encoder / CONFIG_FILE)
        preprocess = read_preprocess(self.encoder / PREPROCESS_FILE, vision.image_size)
        tensors = EncoderFiles(self.encoder)
        check_tensors(tensors, vision)
        files = heads_folder.find_heads(self.heads)
        means = heads_folder.find_means(self.heads)
        return Contents(
            vision=vision,
            preprocess=preprocess,
            tensors=tensors,
            heads=files,
            head_widths=_common_widths(files, vision.hidden_size),
            neutral_means=heads_folder.read_means(means, files) if means else None,
            switches=heads_folder.read_switches(self.heads),
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """What a published checkpoint holds. heads: file by slug, in canonical order; all of the same widths."""

    vision: VisionConfig
    preprocess: Preprocess
    tensors: EncoderFiles
    heads: Mapping[str, Path]
    head_widths: tuple[int, ...]
    neutral_means: Mapping[str, float] | None
    switches: heads_folder.Switches


def _common_widths(files: Mapping[str, Path], hidden_size: int) -> tuple[int, ...]:
    common: tuple[int, ...] = ()
    first = next(iter(files.values()))
    for path in files.values():
        widths = heads_folder.widths_of(heads_folder.read_head(path))
        common = common or widths
        if widths[0] != hidden_size:
            raise CheckpointError(
                f"{path} takes {widths[0]} values; expected {hidden_size}, the hidden_size of the encoder."
            )
        if widths != common:
            raise CheckpointError(
                f"{path} has widths {'-'.join(map(str, widths))}; expected {'-'.join(map(str, common))} as "
                f"{first.name} has. Heads of the large and small variants must not be mixed."
            )
    return common
