"""One small study that has really run, for all tests of this folder."""

from types import SimpleNamespace

import pytest

from cnn_jax.runs import provenance
from cnn_jax.runs.schema import Repository
from cnn_jax.study import Finding, Question, Study, percentages, run

CLEAN = Repository("cnn_jax", "0123456789abcdef0123456789abcdef01234567", (), (), None)
FIELDS = {"network": "conv3-4 relu dense-10", "train_examples": 96, "validation": 60, "epochs": 1, "batch_size": 16}


@pytest.fixture(scope="session")
def studied(tmp_path_factory):
    """A study of six seeds with two sweeps: a small rate, and `outcome`, a large one at which some learn nothing. As if
    it had run at a commit without changes, whatever the state of this tree."""
    out = tmp_path_factory.mktemp("studied") / "some_claim"
    question = Question("some_claim", "Is a small rate better?", datasets=("digits",), smallest_effect=None)
    study = Study(question, out, seeds=tuple(range(6)), show=False)
    outcomes = {}

    def investigate(study):
        for name, rate in (("small", 0.1), ("large", 0.6)):
            outcomes[name] = study.sweep(name, {"learning_rate": (rate,)}, parallel="one", devices=1, **FIELDS)
        a, b = (list(percentages(outcome).values()) for outcome in outcomes.values())
        study.write("seeds", [{"small": x, "large": y} for x, y in zip(a, b, strict=True)])
        return Finding.paired("accuracy, small rate minus large", "points", a, b)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "repository_of", lambda root, attachments: CLEAN)
        verdict = run(study, investigate, "scripts/run some_claim.py --data-dir DIR")
    return SimpleNamespace(study=study, folder=out, verdict=verdict, outcome=outcomes["large"])
