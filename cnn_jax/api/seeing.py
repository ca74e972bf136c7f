"""Looking inside: the page about a trained network, and which of its explanations may be trusted."""

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_jax.api.loading import load_data, with_data_dir
from cnn_jax.data import Dataset
from cnn_jax.runs.model import TrainedModel

if TYPE_CHECKING:
    from cnn_jax.report.inspect import Request


def see(
    run: Path | str,
    request: "Request | None" = None,
    out: Path | None = None,
    *,
    network: str | None = None,
    data: Dataset | None = None,
    data_dir: str | None = None,
    command: str = "cnn_jax.see",
    show: bool = True,
) -> Path:
    """Inspects a trained network and writes a page of figures.

    Args:
      run: the folder of a run, or of a sweep to inspect its best run; with `network`, a weights file.
      request: what to inspect.
      out: the folder to write; by default `insight` in the run's folder.
      network: the name or text of the network if `run` is a weights file; there are then no validation
        images, only those of the request.
      data: the run's data, if they were arrays that are no longer cached.
      data_dir: the folder of the run's data; by default as in the run.
      command: the command named on the page.
      show: shows on standard error which part is in progress.

    Returns:
      The path of the page.

    Raises:
      RequestError: a layer or unit does not fit the network; nothing is written.
      DataError: an image does not fit the network or cannot be read; nothing is written.
      RunError: the run has no checkpoint, or a registered figure fails.
    """
    from cnn_jax.report.inspect import Request
    from cnn_jax.report.inspect import see as inspect_model

    request = request or Request()
    if network is not None:
        model = TrainedModel.of_weights(Path(run), network)
        return inspect_model(model, None, out or Path(run).with_suffix(""), request, command, show)
    model = TrainedModel.load(run)
    assert model.folder is not None
    split = (data or load_data(with_data_dir(model.config, data_dir))).validation
    return inspect_model(model, split, out or model.folder.file("insight"), request, command, show)


def rank(
    run: Path | str, out: Path | None = None, *, seed: int = 0, data_dir: str | None = None,
    command: str = "cnn_jax.rank", show: bool = True,
) -> str:  # fmt: skip
    """Ranks all explanations of a run by how far they may be trusted, and writes ranking.json and ranking.md.

    Args:
      run: the folder of a run, or of a sweep, whose chosen cell's networks are compared over their seeds.
      out: the folder to write; by default `insight` in the run's or sweep's folder.
      seed: of everything random.
      data_dir: the folder of the run's data; by default as in the run.
      command: the command named in the record.
      show: shows on standard error which network is in progress.

    Returns:
      The table, as Markdown.

    Raises:
      RequestError: not a run, or too few validation images.
      RunError: the sweep is not finished or chose no cell; a checkpoint is missing or damaged.
    """
    from cnn_jax.report.inspect.ranking import rank as rank_models

    models = TrainedModel.of_seeds(run)
    splits = [load_data(with_data_dir(model.config, data_dir)).validation for model in models]
    return rank_models(models, splits, Path(out or Path(run) / "insight"), seed, command, show)
