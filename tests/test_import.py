"""What a plain import costs, and that nothing of it needs an extra."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "transformers",
    "openvino",
    "onnx",
    "pyarrow",
    "pandas",
    "skimage",
    "huggingface_hub",
    "numpy",
    "PIL",
)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_nothing_heavy():
    out = run("import sys, emonet_fast; print(*sorted(m for m in sys.modules if '.' not in m))")
    assert not set(HEAVY) & set(out.split())


def test_public_names_are_there():
    out = run(
        "import emonet_fast as ef\n"
        "assert {'Scorer', 'Scores', 'Status', 'CheckpointError'} <= set(dir(ef))\n"
        "print(all(getattr(ef, name) is not None for name in ef.__all__))"
    )
    assert out == "True\n"


def test_unknown_name():
    import emonet_fast

    with pytest.raises(AttributeError, match="no attribute 'Scorr'"):
        emonet_fast.Scorr  # noqa: B018


def test_scoring_path_needs_no_extra():
    """Everything that `score` imports works while the extras' packages cannot be imported."""
    out = run(
        "import sys\n"
        "names = ('torch', 'transformers', 'pandas', 'skimage', 'scipy', 'matplotlib', 'nvidia', 'av')\n"
        "for name in names: sys.modules[name] = None\n"
        "import emonet_fast.commands.main, emonet_fast.job, emonet_fast.scorer, emonet_fast.verify.run\n"
        "import emonet_fast.backends.openvino.backend, emonet_fast.testing.synthetic, emonet_fast.reports.pictures\n"
        "import emonet_fast as ef, numpy as np\n"
        "print(ef.Scores.from_raw(np.zeros((1, 1)), ['Awe'], {'awe': 1.0}).score[0, 0])"
    )
    assert out == "-1.0\n"


def test_a_stored_engine_needs_no_onnx():
    """Only who writes the graph loads it: every other start would be 0.2 s later."""
    out = run(
        "import sys, emonet_fast.backends.openvino.backend, emonet_fast.bulk.worker; print('onnx' in sys.modules)"
    )
    assert out == "False\n"


def test_typed():
    import emonet_fast

    assert (Path(emonet_fast.__file__).parent / "py.typed").exists()
