"""The four evaluations, from files or tables to results: what the commands call, and what users call."""

from dataclasses import replace
from pathlib import Path

from ..datasets import DataSet, Kind, open_dataset
from ..datasets.opening import HUB_NAMES, check_kind
from ..errors import OptionError
from ..options import Options
from .annotations import binary_from_csv, binary_from_dataset, hq_from_csv, hq_from_dataset, with_rows
from .any_hit import any_hit_figures
from .binary import binary_figures
from .demographics import demographic_figures
from .hq import hq_figures
from .hq_tables import hq_result
from .mapping import Mapping, read_mapping
from .metrics import BOOTSTRAPS
from .predictions import read_predictions
from .result import Result
from .tables import any_hit_result, binary_result, demographics_result


def evaluate_hq(
    predictions: object,
    annotations: object = None,
    dataset: str | Path | DataSet | None = None,
    *,
    values: str = "raw",
    name: str = "predictions",
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
    options: Options | None = None,
) -> Result:
    """Compare predictions with the experts' ratings of EmoNet-Face HQ (extra `eval`).

    Args:
        predictions: a file of `emonet-fast score` or of the published layout, Scores, or a table of pandas, polars or
            pyarrow with the columns key and raw_<emotion> (see docs/evaluation.md).
        annotations: the published hq.csv, or a table of its columns; None takes the data set's.
        dataset: a folder of shards, one shard, a hub id, or an opened data set; with `annotations` it only says which
            of its rows is which image. Without both: laion/emonet-face-hq.
        values: "raw" or "score", which number of each head.
        name: what the model is called among the raters.
        partial: evaluate what is there, even where more than 1% of the images, or an emotion, is lacking.
        bootstraps: resamples of each interval.
        options: revision and cache_dir for a data set of the hub; None takes the defaults.

    Raises:
        DataError: when something cannot be read, does not fit, or lacks more than 1%.
        OptionError: when a setting cannot work.
        MissingPackageError: without scipy.
    """
    given = read_predictions(predictions, values, partial)
    data = None if annotations is not None and dataset is None else _opened(dataset, Kind.HQ, options)
    if annotations is None:
        assert data is not None  # noqa: S101 - for the type checker
        ratings = hq_from_dataset(data, partial)
    else:
        ratings = hq_from_csv(annotations, partial)
        ratings = ratings if data is None else with_rows(ratings, data)
    figures = hq_figures(given, ratings, name=name, partial=partial, bootstraps=_draws(bootstraps))
    return _of_data(hq_result(figures, given.source), data)


def evaluate_binary(
    predictions: object,
    annotations: object = None,
    dataset: str | Path | DataSet | None = None,
    *,
    values: str = "raw",
    threshold: float = 1.0,
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
    options: Options | None = None,
) -> Result:
    """Compare predictions with the annotators' yes or no of EmoNet-Face Binary (extra `eval`).

    Args:
        predictions, values, partial, bootstraps, options: as of `evaluate_hq`.
        annotations: the published binary.csv, or a table of its columns.
        dataset: as of `evaluate_hq`, in place of `annotations`. Without both: laion/emonet-face-binary.
        threshold: an emotion counts as seen from this score on, for the F1 at a fixed threshold.

    Raises:
        OptionError: when annotations and a data set came, or a setting cannot work.
        DataError, MissingPackageError: as of `evaluate_hq`.
    """
    if annotations is not None and dataset is not None:
        raise OptionError("annotations and dataset both hold the answers; give one of them")
    given = read_predictions(predictions, values, partial)
    data = None if annotations is not None else _opened(dataset, Kind.BINARY, options)
    answers = binary_from_csv(annotations) if data is None else binary_from_dataset(data)
    figures = binary_figures(given, answers, fixed=threshold, partial=partial, bootstraps=_draws(bootstraps))
    return _of_data(binary_result(figures, given.source), data)


def evaluate_any_hit(
    predictions: object,
    mapping: str | Path | dict[str, object] | Mapping,
    labels: str | Path | dict[str, str],
    *,
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
) -> Result:
    """Any-hit accuracy on FERD, AffectNet or classes of your own, beside what random scores reach.

    Args:
        predictions, partial, bootstraps: as of `evaluate_hq`; `score` is evaluated, as published.
        mapping: "ferd", "affectnet", a JSON file, or the content of one: {"classes": {"happy": ["elation"]}}.
        labels: a file of each picture's class, {file name: class}, or "from-name" (0000_Happy.jpg).

    Raises:
        DataError, OptionError: as of `evaluate_hq`.
    """
    classes = mapping if isinstance(mapping, Mapping) else read_mapping(mapping)
    given = read_predictions(predictions, "score", partial)
    figures = any_hit_figures(given, classes, labels, partial=partial, bootstraps=_draws(bootstraps))
    return any_hit_result(figures, given.source, "a dict" if isinstance(labels, dict) else str(labels))


def evaluate_demographics(
    predictions: object,
    dataset: str | Path | DataSet,
    *,
    annotations: bool = True,
    values: str = "raw",
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
    options: Options | None = None,
) -> Result:
    """Scores, and errors against the experts, by what the prompts asked for: age, gender, ethnicity (extra `eval`).

    Args:
        predictions, values, partial, bootstraps, options: as of `evaluate_hq`.
        dataset: as of `evaluate_hq`.
        annotations: False looks at scores alone, for data sets without experts, such as Big.

    Raises:
        DataError, OptionError, MissingPackageError: as of `evaluate_hq`.
    """
    given = read_predictions(predictions, values, partial)
    data = _opened(dataset, None if annotations else Kind.BIG, options)
    figures = demographic_figures(given, data, partial=partial, bootstraps=_draws(bootstraps))
    return _of_data(demographics_result(figures, given.source), data)


def _opened(dataset: str | Path | DataSet | None, kind: Kind | None, options: Options | None) -> DataSet:
    """The data set; None is the hub's of that kind."""
    if isinstance(dataset, DataSet):
        check_kind(dataset, kind)
        return dataset
    place = HUB_NAMES[kind] if dataset is None and kind is not None else str(dataset)
    known = options or Options()
    return open_dataset(place, kind, revision=known.revision, cache_dir=known.cache_dir)


def _draws(bootstraps: int) -> int:
    if type(bootstraps) is not int or not 1 <= bootstraps <= 10**6:
        raise OptionError(f"bootstraps is {bootstraps!r}; expected a whole number from 1 to 1000000")
    return bootstraps


def _of_data(result: Result, data: DataSet | None) -> Result:
    """With a note on what was passed over beside the data set's shards."""
    if data is None or not data.skipped:
        return result
    note = f"tables of {data.source} that are no shards were passed over: {', '.join(data.skipped)}"
    return replace(result, notes=(*result.notes, note))
