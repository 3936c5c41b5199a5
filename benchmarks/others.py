"""Other people's packages on the same crops, as context for throughput: `make bench-others`.

    python -m benchmarks.others [--pictures FOLDER] [--only NAME ...]

Each gets an environment of its own under .venv-others/, so that their pins meet nobody's. Their task is smaller than
ours (7 or 8 emotions from smaller networks), and py-feat looks for the face first: no comparison. Their weights come
from their own servers at first use; where these cannot be reached the result says so.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measurements
from benchmarks.pictures import face

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".venv-others"
CROPS, ROUNDS = 8, 5
INSTALL_SECONDS, RUN_SECONDS = 1200, 900


@dataclass(frozen=True)
class Other:
    """Somebody else's package.

    Args:
        name: of the package.
        packages: what pip installs for it.
        task: what it does with a picture, and how large its network is.
    """

    name: str
    packages: tuple[str, ...]
    task: str


OTHERS = (
    Other("py-feat", ("py-feat>=2.1",), "7 emotions, ResMaskNet on 48 x 48 grey crops; finds the face first"),
    Other("emotiefflib", ("emotiefflib",), "8 emotions, EfficientNet-B0 on 224 x 224 crops"),
    # DeepFace imports werkzeug, and does not ask for it.
    Other(
        "deepface",
        ("deepface", "tf-keras", "werkzeug"),
        "7 emotions, a small convolutional network on 48 x 48 grey crops",
    ),
)


def crops(folder: Path | None, where: Path) -> list[str]:
    """Pictures of a folder, or scikit-image's portrait at several sizes."""
    if folder is not None:
        return [str(path.resolve()) for path in sorted(folder.iterdir()) if path.is_file()][:CROPS]
    paths = []
    for i in range(CROPS):
        paths.append(str(where / f"{i}.jpg"))
        face().resize((200 + 40 * i, 200 + 40 * i)).save(paths[-1], quality=90)
    return paths


def measured(other: Other, pictures: list[str]) -> dict[str, Any]:
    """Install the package where it is not yet, and run it."""
    python = HOME / other.name / "bin" / "python"
    if not (HOME / other.name / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME / other.name)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet"]
        answer = answer_of(command, other.packages, INSTALL_SECONDS, lambda text: {})
        if "failed" in answer:
            return answer
        (HOME / other.name / ".installed").touch()
    inside = str(Path(__file__).with_name("others_inside.py"))
    command = [str(python), inside, other.name, str(ROUNDS)]
    return answer_of(command, tuple(pictures), RUN_SECONDS, lambda text: dict(json.loads(text.splitlines()[-1])))


def answer_of(command: list[str], more: tuple[str, ...], limit: float, read: Any) -> dict[str, Any]:
    """What `read` makes of the command's output, or why there is none."""
    try:
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=limit, check=True)
        answer: dict[str, Any] = read(done.stdout)
        return answer
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit:.0f} s"}
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or error.stderr.splitlines()
        return {"failed": (lines or ["no word"])[-1][:300]}
    except ValueError as error:
        return {"failed": f"its output could not be read: {error}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder of face crops (made from scikit-image's portrait)")
    parser.add_argument("--only", nargs="+", choices=[other.name for other in OTHERS])
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory(prefix="emonet-fast-others-") as name:
        pictures = crops(options.pictures, Path(name))
        for other in OTHERS:
            if options.only and other.name not in options.only:
                continue
            answer = measured(other, pictures)
            rows[other.name] = {"task": other.task, "crops": len(pictures), **answer}
            seconds = answer.get("seconds_an_image")
            text = f"{1 / statistics.median(seconds):.1f} img/s" if seconds else answer["failed"]
            print(f"{other.name}: {text} ({other.task})", flush=True)
    measurements.keep("others", rows)


if __name__ == "__main__":
    main()
