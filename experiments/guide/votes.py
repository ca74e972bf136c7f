"""Does the fully connected layer weigh the features that go with a class?

The guide: the last layer looks at which high-level features most correlate with a class and has weights for them.

    scripts/run experiments/guide/votes.py --data-dir DIR    # two CPU cores; its verdict says how long

For every feature that enters the last layer and every class: the correlation, over validation images, of the feature
with belonging to the class, against the weight between the two; the statistic is the rank correlation of the two over
all pairs. Expected: clearly positive after training and zero before.
"""

import matplotlib
import numpy as np
from classic import classic
from scipy import stats

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.insight import units
from cnn_jax.report import figures
from cnn_jax.runs.model import TrainedModel
from cnn_jax.study import Finding, Question, Study

QUESTION = Question(
    "votes", "Do the last layer's weights go with the correlation of features and classes?", smallest_effect=0.05
)


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    networks = study.learned(outcome)
    rows, shown = [], None
    for seed, trained in networks.items():
        split = api.load_data(trained.config).validation
        images, labels = split.images[:2000], split.labels[:2000]
        found: dict[str, float] = {"seed": seed}
        for state, variables in (("untrained", trained.history()[0][1]), ("trained", trained.variables)):
            correlations, weights = both(trained, variables, images, labels)
            found[state] = float(stats.spearmanr(correlations.ravel(), weights.ravel()).statistic)
        shown = shown or (correlations, weights)
        rows.append(found)
    table = study.write("votes", rows)
    assert shown is not None
    draw(study, *shown)
    means = {state: float(table[state].mean()) for state in ("untrained", "trained")}
    more = means | {"left out": study.left_out(outcome)}
    return study.paired(
        "rank correlation of weights with feature-class correlations, trained minus untrained", "",
        table["trained"].tolist(), table["untrained"].tolist(), more,
    )  # fmt: skip


def both(trained: TrainedModel, variables, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations and weights, (features, classes); features that never change are left out."""
    *_, last = trained.network.walk()
    features = units.votes(trained.network, variables, trained.normalise(images)).features.astype(np.float64)
    belongs = np.eye(trained.network.outputs)[labels]
    features, belongs = features - features.mean(0), belongs - belongs.mean(0)
    alive = features.std(0) > 0
    lengths = np.linalg.norm(features[:, alive], axis=0)[:, None] * np.linalg.norm(belongs, axis=0)[None]
    return features[:, alive].T @ belongs / lengths, np.asarray(variables["params"][last.name]["kernel"])[alive]


def draw(study: Study, correlations: np.ndarray, weights: np.ndarray) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(3.6, 3.2), layout="constrained")
        for c in range(weights.shape[1]):
            plot.plot(correlations[:, c], weights[:, c], ".", ms=4, color=figures.COLOURS[c % len(figures.COLOURS)])
        plot.axhline(0, color="0.7", lw=0.8)
        plot.axvline(0, color="0.7", lw=0.8)
        plot.set_xlabel("r(feature, class)")
        plot.set_ylabel("w")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
