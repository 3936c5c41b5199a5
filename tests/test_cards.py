"""The model card of weights in another file: rights, attribution and limits, by what is known of their origin."""

import json
from dataclasses import replace

import pytest

from emonet_fast.cards import LIMITS, Licence, hub_names, weights_card
from emonet_fast.checkpoint.spec import Description, Preprocess, VisionConfig
from emonet_fast.errors import OptionError

from .commanding import run

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PUBLISHED = f"google/siglip2-so400m-patch16-384@{COMMIT} + laion/Empathic-Insight-Face-Large@{COMMIT}"
WEIGHTS = Description(
    vision=VisionConfig(1152, 4304, 27, 16, 384, 16),
    preprocess=Preprocess(384, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    names=("awe", "fear"),
    head_widths=(1152, 1024, 1),
    neutral_means={"awe": 0.0, "fear": 0.0},
    l2_normalise=True,
    untrained=False,
    source=PUBLISHED,
)


def card(weights=WEIGHTS, rights=Licence()):  # noqa: B008 - it is frozen
    return weights_card("large.safetensors", weights, "sha256:1", rights, "Changed: nothing.", "emonet-fast score x")


def front(text):
    """The front matter; every value is JSON."""
    lines = text.split("---\n")[1].splitlines()
    return {name: json.loads(value) for name, _, value in (line.partition(": ") for line in lines)}


def test_published_weights_carry_their_rights():
    text = card()
    assert front(text)["license"] == "cc-by-4.0"
    assert front(text)["base_model"] == ["google/siglip2-so400m-patch16-384", "laion/Empathic-Insight-Face-Large"]
    assert "datasets" not in front(text)  # what the heads learnt from is not published
    assert "SigLIP 2 by Google (arXiv:2502.14786), APACHE-2.0" in text
    assert "LAION and the authors of EmoNet-Face (arXiv:2505.20033), CC-BY-4.0" in text
    for words in (LIMITS, "Changed: nothing.", "sha256:1", "    emonet-fast score x", "1152-1024-1", "384 x 384"):
        assert words in text
    assert "mean nothing" not in text


def test_what_the_user_says_goes_before():
    fields = front(card(rights=Licence("mit", ("me/encoder",), ("me/faces", "you/faces"))))
    assert (fields["license"], fields["base_model"], fields["datasets"]) == (
        "mit",
        ["me/encoder"],
        ["me/faces", "you/faces"],
    )


def test_unknown_weights_claim_nothing():
    text = card(replace(WEIGHTS, source="somewhere | else", untrained=True, neutral_means=None))
    assert front(text)["license"] == "other"
    assert "base_model" not in front(text)
    for words in ("not stated by their maker", "not known to this package", "their numbers mean nothing", "raw scores"):
        assert words in text
    assert "somewhere \\| else" in text


def test_only_repositories_with_a_commit_are_names():
    assert hub_names("encoder/ + heads/, a/b@main + laion/x@0123456 + laion/x@0123456") == ("laion/x",)


def test_pack_writes_it(tiny_folder, tmp_path):
    out = tmp_path / "p.safetensors"
    command = ["pack", "-c", tiny_folder, "-o", out]
    with pytest.raises(OptionError, match="expected --card too"):
        run(*command, "--license", "mit")
    run(*command, "--card", tmp_path / "README.md", "--license", "mit")
    text = (tmp_path / "README.md").read_text("utf-8")
    assert front(text)["license"] == "mit"
    assert "emonet-fast score faces/ --checkpoint p.safetensors" in text
    assert str(tmp_path) not in text  # cards are published
