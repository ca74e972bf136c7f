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
from cnn_jax.runs.manifest import NAME as MANIFEST
from cnn_jax.runs.outcome import verdict_of
from cnn_jax.runs.verdict import LEVEL, Block, Finding, Verdict
from cnn_jax.statistics import holm
from cnn_jax.study import effect_text, sentence
from cnn_jax.study.blocks import agreement, label

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERDICTS_ZH = {"supported": "支持", "contradicted": "相反", "equivalent": "等同", "undecided": "未定"}
STANDINGS = {"registered": "registered: ", "exploratory": "exploratory: ", "exact": ""}
STANDINGS_ZH = {"registered": "（预注册）", "exploratory": "（探索性）", "exact": ""}
INTERVALS_ZH = {"95 % t interval": "95% t 区间"}
STYLE = """
.claim { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; }
.claim h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.claim > figure, .claim > pre { grid-column: 1 / -1; }
.claim p { margin: .3rem 0; }
.verdict { font-weight: 600; border-left: .3rem solid var(--line); padding-left: .6rem; }
.supported { border-color: #009E73; } .contradicted { border-color: #D55E00; } .equivalent { border-color: #0072B2; }
.undecided { border-color: #999; }
@media (max-width: 45rem) { .claim { grid-template-columns: 1fr; } }
@media print { .claim { break-inside: avoid; } }
"""
README = """# The guide, executable

Every claim of the beginner's guide ({source}) with the experiment or test that answers it. Each experiment states its \
rule before it runs, trains with the ordinary sweep, and leaves `verdict.json`, the pairs that it rests on, tables and \
a figure; its evidence goes to {place}.

A verdict is **registered** if question, rule, tuned arms, seeds and the deciding code were committed before its first \
training ([docs/protocol.md](../../docs/protocol.md)); a pilot, which tunes the arms and finds how many seeds are \
needed, is **exploratory**. Intervals are 95 % t intervals of differences paired by seed, over the seeds that finished \
in both arms; each seed has its own split of the data. *Equivalent* means smaller than the smallest effect of interest \
by two one-sided tests. *After Holm* corrects for all registered tests of this table. A run that diverges (a \
non-finite loss or weight) has no value: it is counted, with Fisher's exact test, and never averaged. A run that ends \
at chance keeps its accuracy and is counted too; where the question is what a network has learned, networks at chance \
are left out and counted in `verdict.json`.

```
scripts/run experiments/guide/all.py --data-dir DIR      # pilots, and verdicts of what is registered
scripts/run experiments/guide/all.py --replicate         # the registered ones with fresh seeds
scripts/run experiments/guide/all.py --keep              # their evidence to results/guide, this table and the page
scripts/run experiments/guide/all.py --quick             # the same on a few digits: to see it run
```

{counts} Written by `scripts/run experiments/guide/all.py --table`.
"""
ORDER = ("verdict", "pilot")  # the block that a row shows, the first that is there


def claims() -> dict[str, Any]:
    """claims.toml: `chapter`, a list, and `claim`, a list."""
    return tomllib.loads((HERE / "claims.toml").read_text(encoding="utf-8"))


Known = dict[str, dict[str, dict[Block, Verdict]]]  # by claim, data set and block


def verdicts(results: Path, *, quick: bool = False) -> Known:
    """Those that are there. RunError for one that does not deserve to be cited; of quick runs, which never do, for one
    that is damaged."""
    read = Verdict.open if quick else verdict_of
    found: Known = {}
    for claim in claims()["claim"]:
        for path in sorted(results.glob(f"{claim['key']}/*/*/{MANIFEST}")):
            verdict = read(path.parent)
            found.setdefault(claim["key"], {}).setdefault(verdict.dataset, {})[verdict.block] = verdict
    return found


def shown(of_data: dict[Block, Verdict]) -> Verdict:
    """The verdict that stands: the registered one, else the pilot's."""
    return next((of_data[block] for block in ORDER if block in of_data), next(iter(of_data.values())))


def corrected(known: Known) -> dict[tuple[str, str], float]:
    """The p values of all registered verdicts by claim and data set, corrected by Holm's procedure."""
    tests = {
        (key, dataset): verdict.finding.p
        for key, by_data in known.items()
        for dataset, of_data in by_data.items()
        if (verdict := shown(of_data)).standing == "registered" and verdict.finding.p is not None
    }
    return dict(zip(tests, holm([p for p in tests.values() if p is not None]), strict=True))


def table(results: Path, linked_from: Path) -> str:
    """The Markdown table: claim, data, verdict, effect with interval, after Holm, replication, n, time, command."""
    known = verdicts(results)
    after = corrected(known)
    rows: list[dict[str, tables.Cell]] = []
    for claim in claims()["claim"]:
        by_data = known.get(claim["key"], {})
        rows += [_row(claim, one, after, results, linked_from) for one in by_data.values()] or [_unasked(claim)]
    return tables.markdown(pd.DataFrame(rows))


_COLUMNS = ("data", "verdict", "effect", "after Holm", "replication", "n", "seconds", "command", "figure")


def _claimed(claim: dict[str, Any]) -> dict[str, tables.Cell]:
    lines = ", ".join(map(str, claim["lines"]))
    return {"claim (lines of the guide)": f"{claim['en']} ({lines})"}


def _unasked(claim: dict[str, Any]) -> dict[str, tables.Cell]:
    """The row of a claim without a verdict: published, tested, out of reach, registered or to be measured."""
    row = _claimed(claim) | dict.fromkeys(_COLUMNS, "")
    if claim["answer"] in references():
        return row | {"verdict": "published", "effect": references()[claim["answer"]].short}
    if claim["answer"] == "out of reach":
        return row | {"verdict": "out of reach", "effect": claim["more_en"]}
    if "::" in claim["answer"]:
        return row | {"verdict": "tested", "effect": "exact", "command": tables.code(f"scripts/test {claim['answer']}")}
    registered = (HERE / "registered" / f"{claim['key']}.toml").is_file()
    return row | {
        "verdict": "registered, not yet run" if registered else "to be measured",
        "command": tables.code(f"scripts/run {claim['answer']} --data-dir DIR"),
    }


def _row(
    claim: dict[str, Any], of_data: dict[Block, Verdict], after: dict[tuple[str, str], float], results: Path,
    linked_from: Path,
) -> dict[str, tables.Cell]:  # fmt: skip
    verdict = shown(of_data)
    finding = verdict.finding
    folder = results / claim["key"] / label(verdict.dataset) / verdict.block
    p = after.get((claim["key"], verdict.dataset))
    again = of_data.get("replication")
    standing = "" if verdict.standing == "exact" else f" ({verdict.standing})"
    return _claimed(claim) | {
        "data": verdict.dataset, "verdict": f"{finding.answer}{standing}",
        "effect": f"{finding.statistic}: {effect_text(finding)}",
        "after Holm": "" if p is None else f"{after_holm(finding, p)}, p = {p:.2g}, before {finding.p:.2g}",
        "replication": "" if again is None else f"{agreement(verdict, again)}: {effect_text(again.finding)}",
        "n": str(finding.n), "seconds": f"{verdict.seconds:.0f}",
        "command": tables.code(f"scripts/run {claim['answer']} --data-dir DIR"),
        "figure": tables.link("figure", Path(os.path.relpath(folder / "figure.png", linked_from.parent)).as_posix()),
    }  # fmt: skip


def after_holm(finding: Finding, p: float) -> str:
    """The answer with a corrected p value: a supported or contradicted one is undecided where it is no longer below
    the level."""
    return "undecided" if finding.answer in ("supported", "contradicted") and p >= LEVEL else finding.answer


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
    known = verdicts(results)
    if not known:
        return f"None of the {asked} experiments is measured yet."
    standing = [shown(of_data) for by_data in known.values() for of_data in by_data.values()]
    every = [verdict for by_data in known.values() for of_data in by_data.values() for verdict in of_data.values()]
    answers = ", ".join(f"{sum(v.finding.answer == answer for v in standing)} {answer}" for answer in VERDICTS_ZH)
    registered = sum(verdict.standing == "registered" for verdict in standing)
    minutes = sum(verdict.seconds for verdict in every) / 60
    devices = "; ".join(sorted({device(verdict.provenance.device) for verdict in every}))
    return (
        f"{len(known)} of {asked} experiments, {len(standing)} verdicts on data sets, {registered} of them registered: "
        f"{answers}; {minutes:.0f} minutes on {devices}."
    )


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
        inside = [
            _claim(claim, [shown(one) for one in known.get(claim["key"], {}).values()], results)
            for claim in read["claim"]
            if claim["chapter"] == chapter["key"]
        ]
        parts.append(page.section(f"{number}. {chapter['en']} · {chapter['zh']}", *inside))
    path.write_text(page.page("The guide, executable · 可执行的入门指南", parts, STYLE), encoding="utf-8")


def _both(english: str, chinese: str) -> str:
    return f'<div class="claim"><p>{html.escape(english)}</p><p lang="zh">{html.escape(chinese)}</p></div>'


def _claim(claim: dict[str, Any], known: list[Verdict], results: Path) -> str:
    columns = []
    for language, tag in (("en", ""), ("zh", ' lang="zh"')):
        said = [_said(claim, verdict, language) for verdict in known] or [_unsaid(claim, language)]
        marks: list[str] = [verdict.finding.answer for verdict in known] or [""]
        paragraphs = "".join(
            f'<p class="verdict {mark}">{html.escape(text)}</p>' for mark, text in zip(marks, said, strict=True)
        )
        columns.append(
            f"<div{tag}><h3>{html.escape(claim[language])}</h3><p>{html.escape(claim[f'more_{language}'])}</p>"
            f"{paragraphs}</div>"
        )
    below = []
    for verdict in known:
        drawn = results / claim["key"] / label(verdict.dataset) / verdict.block / "figure"
        if drawn.with_suffix(".svg").is_file():
            alt = f"{claim['en']} {sentence(verdict)}"
            caption = f"n = {verdict.finding.n} · {verdict.dataset} · {verdict.question} Rule: {verdict.rule}."
            below.append(page.figure(drawn, alt, caption))
    if known:
        below.append(page.command(known[0].provenance.command))
    return f'<div class="claim">{"".join([*columns, *below])}</div>'


def _unsaid(claim: dict[str, Any], language: str) -> str:
    if claim["answer"] in references():
        return references()[claim["answer"]].short
    if claim["answer"] == "out of reach":
        return {"en": "Out of reach.", "zh": "无法在此检验。"}[language]
    if "::" in claim["answer"]:
        return {"en": "Exact: held by a test.", "zh": "精确成立：由测试保证。"}[language]
    return {"en": "To be measured.", "zh": "尚待测量。"}[language]


def _said(claim: dict[str, Any], verdict: Verdict, language: str) -> str:
    quick = {"en": " (quick: counts for nothing)", "zh": "（快速试运行，不作数）"}[language] if verdict.quick else ""
    if language == "en":
        return f"On {verdict.dataset}, {STANDINGS[verdict.standing]}{sentence(verdict)}{quick}"
    standing = STANDINGS_ZH[verdict.standing]
    answer = VERDICTS_ZH[verdict.finding.answer]
    return f"{verdict.dataset}{standing}：{answer}：{claim['measure_zh']}：{_effect_zh(verdict.finding)}{quick}"


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
