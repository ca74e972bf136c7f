"""What the experiments found, for a reader: the table of the README and the illustrated page in English and Chinese."""

import html
import os
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_jax.references import references
from cnn_jax.report import page, tables
from cnn_jax.report.cite import device
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.manifest import NAME as MANIFEST
from cnn_jax.runs.outcome import outcome_of, verdict_of
from cnn_jax.runs.verdict import Finding, Verdict
from cnn_jax.study import duration, effect_text, sentence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERDICTS_ZH = {"supported": "支持", "not supported": "不支持", "inconclusive": "无法判定"}
INTERVALS_ZH = {"95 % t interval": "95% t 区间"}
STYLE = """
.claim { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; }
.claim h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.claim > figure, .claim > pre { grid-column: 1 / -1; }
.claim p { margin: .3rem 0; }
.verdict { font-weight: 600; border-left: .3rem solid var(--line); padding-left: .6rem; }
.supported { border-color: #009E73; } .not-supported { border-color: #D55E00; } .inconclusive { border-color: #999; }
@media (max-width: 45rem) { .claim { grid-template-columns: 1fr; } }
@media print { .claim { break-inside: avoid; } }
"""
README = """# The guide, executable

Every claim of the beginner's guide ({source}) with the experiment or test that answers it. Each experiment states its \
rule before it runs, trains with the ordinary sweep, and leaves `verdict.json`, the pairs that it rests on, tables and \
a figure; its evidence goes to {place}, that of its sweeps too.

Intervals are 95 % t intervals of differences paired by seed, over the seeds that finished in both arms. A run that \
diverges (a non-finite loss or weight) has no value: it is counted, with Fisher's exact test, and never averaged. A \
run that ends at chance keeps its accuracy and is counted too; where the question is what a network has learned, \
networks at chance are left out and counted in `verdict.json`.

What a docstring expects was written before any run and stays where it did not come out. Rules, statistics and some \
learning rates were revised after first runs had been seen; no verdict of those runs is kept, and every one that \
stands here rests on sweeps that were trained anew.

```
scripts/run experiments/guide/all.py --data-dir DIR      # all of them
scripts/run experiments/guide/all.py --keep              # their evidence to results/guide, this table and the page
scripts/run experiments/guide/all.py --quick             # the same on a few digits: to see it run
```

{counts} Written by `scripts/run experiments/guide/all.py --table`.
"""


def claims() -> dict[str, Any]:
    """claims.toml: `chapter`, a list, and `claim`, a list."""
    return tomllib.loads((HERE / "claims.toml").read_text(encoding="utf-8"))


def verdicts(results: Path, *, quick: bool = False) -> dict[str, Verdict]:
    """By claim, those that are there. RunError for one that does not deserve to be cited; of quick runs, which never
    do, for one that is damaged."""
    read = Verdict.open if quick else verdict_of
    folders = {claim["key"]: results / claim["key"] for claim in claims()["claim"]}
    return {key: read(folder) for key, folder in folders.items() if Folder(folder).has(MANIFEST)}


def table(results: Path, linked_from: Path) -> str:
    """The Markdown table: claim, verdict, effect with interval, n, time, command, figure."""
    known = verdicts(results)
    rows = [_row(claim, known.get(claim["key"]), results, linked_from) for claim in claims()["claim"]]
    return tables.markdown(pd.DataFrame(rows))


def _row(claim: dict[str, Any], verdict: Verdict | None, results: Path, linked_from: Path) -> dict[str, tables.Cell]:
    lines = ", ".join(map(str, claim["lines"]))
    row: dict[str, tables.Cell] = {"claim (lines of the guide)": f"{claim['en']} ({lines})"}
    if claim["answer"] in references():
        return row | {"verdict": "published", "effect": references()[claim["answer"]].short} | dict.fromkeys(_REST, "")
    if "::" in claim["answer"]:
        command = tables.code(f"scripts/test {claim['answer']}")
        return row | {"verdict": "tested", "effect": "exact"} | dict.fromkeys(_REST, "") | {"command": command}
    command = tables.code(f"scripts/run {claim['answer']} --data-dir DIR")
    if verdict is None:
        return row | {"verdict": "to be measured", "effect": ""} | dict.fromkeys(_REST, "") | {"command": command}
    figure = Path(os.path.relpath(results / claim["key"] / "figure.png", linked_from.parent)).as_posix()
    return row | {
        "verdict": verdict.finding.answer, "effect": f"{verdict.finding.statistic}: {effect_text(verdict.finding)}",
        "n": str(verdict.finding.n), "seconds": f"{verdict.seconds:.0f}", "command": command,
        "figure": tables.link("figure", figure),
    }  # fmt: skip


_REST = ("n", "seconds", "command", "figure")


def write_readme(results: Path) -> None:
    """experiments/guide/README.md, wholly generated."""
    path = HERE / "README.md"
    source = references()["deshpande2016beginner"].short
    place = "[results/guide](../../results/guide)" if results.is_dir() else "`results/guide`"
    text = README.format(source=source, place=place, counts=_counts(results))
    path.write_text(f"{text}\n{table(results, path)}", encoding="utf-8")


def _counts(results: Path) -> str:
    """How many experiments came to which verdict, how long they took, and where."""
    asked = sum(claim["answer"].endswith(".py") for claim in claims()["claim"])
    known = list(verdicts(results).values())
    if not known:
        return f"None of the {asked} experiments is measured yet."
    answers = ", ".join(f"{sum(v.finding.answer == answer for v in known)} {answer}" for answer in VERDICTS_ZH)
    shared = [outcome_of(path.parent).record for path in sorted(results.glob(f"classic/*/{MANIFEST}"))]
    minutes = (sum(verdict.seconds for verdict in known) + sum(map(duration, shared))) / 60
    devices = "; ".join(sorted({device(verdict.provenance.device) for verdict in known}))
    return f"{len(known)} of {asked} experiments: {answers}; {minutes:.0f} minutes on {devices}."


def write_page(results: Path, path: Path, *, quick: bool = False) -> None:
    """The illustrated guide, one file."""
    read, known = claims(), verdicts(results, quick=quick)
    parts = [
        _both(
            "Every claim of the beginner's guide, asked of real networks. Under each stands what was measured, with "
            "its interval and the number of seeds, and the verdict of a rule that was stated before.",
            "把入门指南的每一条论断拿到真实网络上检验。每条之下是测量结果、"
            "区间、随机种子数，以及按事先声明的规则得出的结论。",
        )
    ]
    for number, chapter in enumerate(read["chapter"], 1):
        inside = [_claim(c, known.get(c["key"]), results) for c in read["claim"] if c["chapter"] == chapter["key"]]
        parts.append(page.section(f"{number}. {chapter['en']} · {chapter['zh']}", *inside))
    path.write_text(page.page("The guide, executable · 可执行的入门指南", parts, STYLE), encoding="utf-8")


def _both(english: str, chinese: str) -> str:
    return f'<div class="claim"><p>{html.escape(english)}</p><p lang="zh">{html.escape(chinese)}</p></div>'


def _claim(claim: dict[str, Any], verdict: Verdict | None, results: Path) -> str:
    columns = []
    for language, tag in (("en", ""), ("zh", ' lang="zh"')):
        said = _said(claim, verdict, language)
        mark = verdict.finding.answer.replace(" ", "-") if verdict else ""
        columns.append(
            f"<div{tag}><h3>{html.escape(claim[language])}</h3><p>{html.escape(claim[f'more_{language}'])}</p>"
            f'<p class="verdict {mark}">{html.escape(said)}</p></div>'
        )
    drawn = results / claim["key"] / "figure.png"
    below = []
    if verdict and drawn.is_file():
        alt = f"{claim['en']} {sentence(verdict)}"
        caption = f"n = {verdict.finding.n} · {verdict.dataset} · {verdict.question} Rule: {verdict.rule}."
        below = [page.figure(drawn, alt, caption), page.command(verdict.provenance.command)]
    return f'<div class="claim">{"".join([*columns, *below])}</div>'


def _said(claim: dict[str, Any], verdict: Verdict | None, language: str) -> str:
    if claim["answer"] in references():
        return references()[claim["answer"]].short
    if "::" in claim["answer"]:
        return {"en": "Exact: held by a test.", "zh": "精确成立：由测试保证。"}[language]
    if verdict is None:
        return {"en": "To be measured.", "zh": "尚待测量。"}[language]
    quick = {"en": " (quick: counts for nothing)", "zh": "（快速试运行，不作数）"}[language] if verdict.quick else ""
    if language == "en":
        text = sentence(verdict)
        return f"{text[0].upper()}{text[1:]}{quick}"
    return f"{VERDICTS_ZH[verdict.finding.answer]}：{claim['measure_zh']}：{_effect_zh(verdict.finding)}{quick}"


def _effect_zh(finding: Finding) -> str:
    """As `effect_text`, in Chinese."""
    if finding.effect is None:
        text = "没有种子在两组中都完成，无从比较"
    elif finding.low is None:
        text = f"{finding.effect:.4g}"
    else:
        interval = INTERVALS_ZH.get(finding.interval, finding.interval)
        text = f"{finding.effect:+.3g}（{interval} {finding.low:+.3g} 至 {finding.high:+.3g}，n = {finding.n}）"
    if (failures := finding.failures) is not None:
        if failures.a + failures.b:
            p = f"Fisher 精确检验 p = {failures.p:.2g}"
            text += f"；发散 {failures.a} 次与 {failures.b} 次（各 {failures.n} 次训练，{p}）"
        if finding.at_chance is not None and any(finding.at_chance):
            text += f"；停留在随机水平 {finding.at_chance[0]} 次与 {finding.at_chance[1]} 次"
    return text
