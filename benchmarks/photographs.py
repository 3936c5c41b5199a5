"""Prints the paths of the public-domain and CC0 photographs that scikit-image carries (extra `demo`)."""

from importlib.resources import files
from pathlib import Path

NAMES = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "rocket.jpg",
)


def paths() -> list[Path]:
    """The photographs' paths in the installed package."""
    folder = Path(str(files("skimage") / "data"))
    return [folder / name for name in NAMES]


if __name__ == "__main__":
    print(*paths(), sep="\n")
