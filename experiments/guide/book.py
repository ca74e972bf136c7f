"""What the experiments found, for a reader: the table of the README and the illustrated page in English and Chinese."""

import html
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_jax.lab.study import duration, sentence
from cnn_jax.references import references
from cnn_jax.report import page, tables
from cnn_jax.report.cite import device

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


def claims() -> dict[str, Any]:
    """claims.toml: `chapter`, a list, and `claim`, a list."""
    return tomllib.loads((HERE / "claims.toml").read_text(encoding="utf-8"))


def verdict_of(claim: dict[str, Any], results: Path) -> dict[str, Any] | None:
    """What was found; None for a claim that no experiment answers, or whose experiment has not run."""
    path = results / claim["key"] / "verdict.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def table(results: Path, linked_from: Path) -> str:
    """The Markdown table: claim, verdict, effect with interval, n, time, command, figure."""
    rows = [_row(claim, verdict_of(claim, results), results, linked_from) for claim in claims()["claim"]]
    return tables.markdown(pd.DataFrame(rows))


def _row(
    claim: dict[str, Any], verdict: dict[str, Any] | None, results: Path, linked_from: Path
) -> dict[str, tables.Cell]:
    lines = ", ".join(map(str, claim["lines"]))
    row: dict[str, tables.Cell] = {"claim (lines of the guide)": f"{claim['en']} ({lines})"}
    if claim["answer"] in references():
        return row | {"verdict": "published", "effect": references()[claim["answer"]].short} | dict.fromkeys(_REST, "")
    if "::" in claim["answer"]:
        command = tables.code(f"scripts/test {claim['answer']}")
        return row | {"verdict": "tested", "effect": "exact"} | dict.fromkeys(_REST, "") | {"command": command}
    command = tables.code(f"scripts/run {claim['answer']} --data-dir DIR")
    if verdict is None:
        return row | {"verdict": "not run", "effect": ""} | dict.fromkeys(_REST, "") | {"command": command}
    figure = Path(os.path.relpath(results / claim["key"] / "figure.png", linked_from.parent)).as_posix()
    return row | {
        "verdict": verdict["verdict"], "effect": f"{verdict['statistic']}: {_effect(verdict)}", "n": str(verdict["n"]),
        "seconds": f"{verdict['seconds']:.0f}", "command": command, "figure": tables.link("figure", figure),
    }  # fmt: skip


_REST = ("n", "seconds", "command", "figure")


def _effect(verdict: dict[str, Any]) -> str:
    unit = f" {verdict['unit']}" if verdict["unit"] else ""
    if verdict["low"] is None:
        return f"{verdict['effect']:.4g}{unit}"
    return f"{verdict['effect']:+.3g}{unit} ({verdict['low']:+.3g} – {verdict['high']:+.3g})"


def write_readme(results: Path) -> None:
    """experiments/guide/README.md, wholly generated."""
    path = HERE / "README.md"
    found = [v for claim in claims()["claim"] if (v := verdict_of(claim, results))]
    counts = {name: sum(v["verdict"] == name for v in found) for name in VERDICTS_ZH}
    devices = sorted({device(v["device"]) for v in found})
    shared = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("classic/*/record.json")]
    seconds = [v["seconds"] for v in found] + [duration(record) for record in shared]
    minutes = sum(seconds) / 60
    source = references()["deshpande2016beginner"].short
    path.write_text(
        "# The guide, executable\n\n"
        f"Every claim of the beginner's guide ({source}) with the experiment or test that answers it. "
        "Each experiment states its rule before it runs, trains with the ordinary sweep, and leaves `verdict.json`, a "
        "CSV and a figure; the evidence is in [results/guide](../../results/guide). Intervals are 95 % t intervals of "
        "differences paired by seed. "
        "What a docstring expects was written before any run and stays where it did not come out. The rules and the "
        "statistics were revised once, and some learning rates at which networks diverged were replaced, after first "
        "runs had been seen; every verdict here was computed after that, from sweeps that had not changed or were "
        "trained anew.\n\n"
        "```\nscripts/run experiments/guide/all.py --data-dir DIR      # all of them, then this table and the page\n"
        "scripts/run experiments/guide/all.py --quick             # the same on a few digits: to see it run\n```\n\n"
        f"{len(found)} experiments: {', '.join(f'{n} {name}' for name, n in counts.items())}; {minutes:.0f} minutes on "
        f"{'; '.join(devices)}. Written by `scripts/run experiments/guide/all.py --table`.\n\n" + table(results, path),
        encoding="utf-8",
    )  # fmt: skip


def write_page(results: Path, path: Path) -> None:
    """The illustrated guide, one file."""
    read = claims()
    parts = [
        _both(
            "Every claim of the beginner's guide, asked of real networks. Under each stands what was measured, with "
            "its interval and the number of seeds, and the verdict of a rule that was stated before.",
            "把入门指南的每一条论断拿到真实网络上检验。每条之下是测量结果、"
            "区间、随机种子数，以及按事先声明的规则得出的结论。",
        )
    ]
    for number, chapter in enumerate(read["chapter"], 1):
        inside = [_claim(c, verdict_of(c, results), results) for c in read["claim"] if c["chapter"] == chapter["key"]]
        parts.append(page.section(f"{number}. {chapter['en']} · {chapter['zh']}", *inside))
    path.write_text(page.page("The guide, executable · 可执行的入门指南", parts, STYLE), encoding="utf-8")


def _both(english: str, chinese: str) -> str:
    return f'<div class="claim"><p>{html.escape(english)}</p><p lang="zh">{html.escape(chinese)}</p></div>'


def _claim(claim: dict[str, Any], verdict: dict[str, Any] | None, results: Path) -> str:
    columns = []
    for language, tag in (("en", ""), ("zh", ' lang="zh"')):
        said = _said(claim, verdict, language)
        mark = verdict["verdict"].replace(" ", "-") if verdict else ""
        columns.append(
            f"<div{tag}><h3>{html.escape(claim[language])}</h3><p>{html.escape(claim[f'more_{language}'])}</p>"
            f'<p class="verdict {mark}">{html.escape(said)}</p></div>'
        )
    drawn = results / claim["key"] / "figure.png"
    below = []
    if verdict and drawn.is_file():
        alt = f"{claim['en']} {sentence(verdict)}"
        caption = f"n = {verdict['n']} · {verdict['dataset']} · {verdict['question']} Rule: {verdict['rule']}."
        below = [page.figure(drawn, alt, caption), page.command(verdict["command"])]
    return f'<div class="claim">{"".join([*columns, *below])}</div>'


def _said(claim: dict[str, Any], verdict: dict[str, Any] | None, language: str) -> str:
    if claim["answer"] in references():
        return references()[claim["answer"]].short
    if "::" in claim["answer"]:
        return {"en": "Exact: held by a test.", "zh": "精确成立：由测试保证。"}[language]
    if verdict is None:
        return {"en": "Not run.", "zh": "尚未运行。"}[language]
    quick = {"en": " (quick: counts for nothing)", "zh": "（快速试运行，不作数）"}[language] if verdict["quick"] else ""
    if language == "en":
        text = sentence(verdict)
        return f"{text[0].upper()}{text[1:]}{quick}"
    effect = f"{verdict['effect']:.4g}"
    if verdict["low"] is not None:
        interval = INTERVALS_ZH.get(verdict["interval"], verdict["interval"])
        low, high = (f"{verdict[end]:+.3g}" for end in ("low", "high"))
        effect = f"{verdict['effect']:+.3g}（{interval} {low} 至 {high}，n = {verdict['n']}）"
    return f"{VERDICTS_ZH[verdict['verdict']]}：{claim['measure_zh']}：{effect}{quick}"
