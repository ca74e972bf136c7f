"""Forged and damaged folders: (kind, what is wrong, how it is done, what `check` must say).

Some only change a file; the others recompute the manifest too, as a forger does who knows of it.
"""

import csv
import io
import json
import shutil

from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder

EFFECT = "[+2.14](run:study#effect) points (95 % t interval +1.84 to +2.43, n = 8)"
GRID = "[93.87 %](run:grid#test.accuracy) (92.94 – 94.80 %, n = 6)"


def change(path, old, new, *, sealed=None):
    """Replaces text of a file that must be there; with `sealed` the manifest of that folder is recomputed."""
    text = path.read_text()
    assert old in text, path
    path.write_text(text.replace(old, new))
    if sealed is not None:
        manifest.write(Folder(sealed))


def edit(path, how, *, sealed=None):
    values = json.loads(path.read_text())
    how(values)
    path.write_text(json.dumps(values))
    if sealed is not None:
        manifest.write(Folder(sealed))


def better_seeds(folder, sealed):
    """Every seed but the representative one is scored better."""
    path = folder / "best" / "seeds.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    for row in rows[3:]:
        row["test_accuracy"] = "0.9999"
    path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n")
    if sealed:
        manifest.write(Folder(folder))


def score_another(folder):
    edit(folder / "trials" / "0000" / "result.json", lambda r: r.update(test=r["validation"]), sealed=folder)


def exchange(folder):
    trials = folder / "trials"
    for old, new in (("0006", "x"), ("0007", "0006"), ("x", "0007")):
        (trials / old).rename(trials / new)
    manifest.write(Folder(folder))


def seal(folder):
    manifest.write(Folder(folder))


def of_trial(trial, how, *, sealed=True):
    """Edits a trial's result."""
    return lambda folder: edit(folder / "trials" / trial / "result.json", how, sealed=folder if sealed else None)


def of_verdict(sealed=True, **values):
    """Edits the finding of a verdict."""
    return lambda folder: edit(
        folder / "verdict.json", lambda v: v["finding"].update(values), sealed=folder if sealed else None
    )


GRIDS = [
    (
        "a trial's result is edited",
        lambda f: change((f / "trials/0007/result.json"), '"accuracy": 0.9', '"accuracy": 0.99'),
        "trials/0007/result.json was changed",
    ),
    (
        "a trial's validation is edited, sealed",
        of_trial("0006", lambda r: r["validation"].update(accuracy=0.99)),
        "another validation score than metrics.jsonl",
    ),
    (
        "the test of a trial is edited, sealed",
        of_trial("0007", lambda r: r["test"].update(accuracy=0.9999)),
        "best/seeds.csv is not what its trials say",
    ),
    ("results.csv is edited", lambda f: change(f / "results.csv", "complete", "complete "), "results.csv was changed"),
    (
        "results.csv is edited, sealed",
        lambda f: change(f / "results.csv", "0.8921", "0.9921", sealed=f),
        "results.csv is not what its trials say",
    ),
    ("seeds.csv is edited", lambda f: better_seeds(f, False), "best/seeds.csv was changed"),
    ("seeds.csv is edited, sealed", lambda f: better_seeds(f, True), "best/seeds.csv is not what its trials say"),
    (
        "the worst trial is deleted",
        lambda f: shutil.rmtree(f / "trials" / "0006"),
        "trials/0006/config.json is missing",
    ),
    ("the worst trial is deleted, sealed", lambda f: (shutil.rmtree(f / "trials" / "0006"), seal(f)), "trials/0006"),
    ("a trial is added", lambda f: shutil.copytree(f / "trials" / "0011", f / "trials" / "0012"), "was added"),
    ("two trials are exchanged, sealed", exchange, "holds another run than the grid's"),
    ("another cell was scored on test, sealed", score_another, "scored for more than the chosen cell"),
    (
        "the record admits more scored trials, sealed",
        lambda f: edit(f / "record.json", lambda r: r.update(test_scored=[0, 6]), sealed=f),
        "scored for more than the chosen cell",
    ),
    (
        "the grid is said to have had one cell, sealed",
        lambda f: edit(f / "config.json", lambda c: c["axes"].update(learning_rate=[0.1]), sealed=f),
        "config.json is not the one that was run",
    ),
    (
        "fewer epochs are claimed, sealed",
        lambda f: edit(f / "config.json", lambda c: c.update(epochs=9), sealed=f),
        "config.json is not the one that was run",
    ),
    (
        "fewer seeds are claimed, sealed",
        lambda f: edit(f / "config.json", lambda c: c["axes"].update(seed=[0, 1, 2]), sealed=f),
        "config.json is not the one that was run",
    ),
    ("no manifest", lambda f: (f / "manifest.json").unlink(), "the sweep has not ended"),
    ("an empty manifest", lambda f: (f / "manifest.json").write_text("{}"), "manifest.json is damaged"),
    (
        "a manifest that forgets a trial",
        lambda f: edit(f / "manifest.json", lambda m: m["files"].pop("trials/0007/result.json")),
        "trials/0007/result.json was added",
    ),
    (
        "the script's copy is another",
        lambda f: (f / "code" / "sweep.py").write_text("another"),
        "code/sweep.py was changed",
    ),
    (
        "the script's copy is gone, sealed",
        lambda f: ((f / "code" / "sweep.py").unlink(), seal(f)),
        "the copy of experiments/sweep.py that took part, is not kept",
    ),
    (
        "no commit, sealed",
        lambda f: edit(f / "record.json", lambda r: r["provenance"].update(repository=None), sealed=f),
        "names no commit",
    ),
    (
        "an interactive session, sealed",
        lambda f: edit(f / "record.json", lambda r: r["provenance"].update(script=None), sealed=f),
        "from code that is not in a file",
    ),
    (
        "a diverged seed is said to be complete, sealed",
        of_trial("0007", lambda r: r.update(status="diverged")),
        "result.json is damaged",
    ),
    ("an accuracy above one, sealed", of_trial("0007", lambda r: r["test"].update(accuracy=1.5)), "is damaged"),
    (
        "a result cut short",
        lambda f: (f / "trials/0007/result.json").write_text('{"status": "comp'),
        "trials/0007/result.json was changed",
    ),
    (
        "a folder in the place of a file",
        lambda f: ((f / "trials/0007/result.json").unlink(), (f / "trials/0007/result.json").mkdir()),
        "result.json is missing",
    ),
    (
        "the last line of metrics.jsonl is gone, sealed",
        lambda f: ((f / "trials/0007/metrics.jsonl").write_text(""), seal(f)),
        "metrics.jsonl has 0",
    ),
    ("results of an older version, sealed", of_trial("0007", lambda r: r.pop("schema")), "has schema 1"),
    ("a record that is no text", lambda f: (f / "record.json").write_bytes(b"\xff\xfe\x00"), "record.json"),
]
STUDIES = [
    ("the effect is edited", of_verdict(False, effect=9.9), "does not follow from pairs.csv"),
    ("the effect is edited, sealed", of_verdict(effect=9.9), "effect should be"),
    ("the interval is edited, sealed", of_verdict(low=2.1), "low should be"),
    ("the answer is edited, sealed", of_verdict(answer="contradicted"), "answer should be"),
    ("n is edited, sealed", of_verdict(n=80), "n should be"),
    (
        "the pairs are edited",
        lambda f: change(f / "pairs.csv", "93.1,91.0", "99.1,91.0"),
        "does not follow from pairs.csv",
    ),
    (
        "the worst pair is deleted, sealed",
        lambda f: change(f / "pairs.csv", "93.2,90.9\n", "", sealed=f),
        "does not follow from pairs.csv",
    ),
    (
        "a quick verdict, sealed",
        lambda f: edit(f / "verdict.json", lambda v: v.update(quick=True), sealed=f),
        "a quick run",
    ),
    (
        "a verdict without a finding, sealed",
        lambda f: edit(f / "verdict.json", lambda v: v.pop("finding"), sealed=f),
        "it has no finding",
    ),
    (
        "the rule is edited",
        lambda f: edit(f / "verdict.json", lambda v: v.update(rule="supported if we like it")),
        "verdict.json was changed",
    ),
]
