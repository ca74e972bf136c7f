"""Finds the numbers of a note that claim a result and therefore need a reference.

A number claims a result if it is in percent, points, nats or a unit of time, if it is next to a word for accuracy,
error or loss, after ± or `p =`, or in a table cell that does not hold a setting.
"""

import re
from collections.abc import Iterator

from cnn_jax.report.notes.document import Block, Cell
from cnn_jax.report.notes.visible import Span
from cnn_jax.report.notes.written import NUMBER, SIGNED

RESULT = (
    r"accura\w+|\bacc\b|\berrors?\b|\bloss(?:es)?\b|\bscor(?:e|es|ed|ing)\b|\btop[- ]?[15]\b|\brecall\b|\bF1\b|\bAUC\b|"
    r"generali[sz]ation gap|\bcorrect(?:ly)?\b|misclassif\w+|\bmistakes?\b"
)
NEAR = 300  # characters of the sentence before and after a number in which a word for accuracy counts
_RESULT = re.compile(RESULT, re.I)
_HEADING = re.compile(
    rf"{RESULT}|%|\bpoints\b|\bnats\b|\bseconds?\b|\bminutes?\b|\bhours?\b|\btimes?\b|\(s\)|^\s*s\s*$|^\s*n\s*$|"
    r"\bintervals?\b|\branges?\b|\bmedians?\b|\bmeans?\b|\baverages?\b|\bbest\b|\bgap\b|\bdifferences?\b|\beffects?\b|"
    r"\bimprovement\b|^\s*p\b|\bspeed(?:-?up)?\b|/\s?s\b|\bdiverged\b|\bchance\b|\btest\b",
    re.I,
)
_SETTING_HEADING = re.compile(
    r"rates?\b|\blr\b|filters?|batch|epochs?|param\w*|layers?|sizes?|width|depth|seeds?|dates?|versions?|commit|year|"
    r"momentum|decay|dropout|images?|examples?|class|device|steps?|kernel|stride|network|model|architecture|method|"
    r"\bdata\b|data ?set|name|protocol|setting|axis|optimi[sz]er|source|smoothing|level|page|section|quantit|file",
    re.I,
)
_NUMBER = re.compile(rf"(?<![\w.,])(?<![A-Za-z_]-){SIGNED}(?:(?<=\d)(?:st|nd|rd|th)\b)?")
_UNIT = re.compile(
    r"\s?(?:(?P<percent>%|per\s?cent\b|percentage\b)|(?P<points>points?\b|pp\b|p\.p\.|nats?\b|"
    r"(?:images|examples|samples|steps|frames)\s?(?:/\s?s\b|(?:per|a)\ssecond\b))"
    r"|(?P<time>seconds?\b|secs?\b|minutes?\b|mins?\b|hours?\b|milliseconds?\b|ms\b|s\b|h\b))"
)
_FACTOR = re.compile(
    r"\s?(?:x|×|times|-?\s?fold)\s(?:as\s)?(?:fast|slow|more|less|bett|wors|high|low|small|larg)", re.I
)
_LEVEL = re.compile(
    r"\s?%\s?-?\s?(?:(?!and|or|of)[\w-]+\s){0,3}?(?:intervals?|CI\b|confidence|credible|level|power)\b", re.I
)
_SHARE_OF_DATA = re.compile(
    r"\s?(?:%|percent|per cent)\s(?:of\s(?:the\s|all\s)?(?:training|train)\b(?!\s\w+\s(?:are|is|were)\s(?:mis|cor|wro))"
    r"|dropout|weight decay|label)",
    re.I,
)
_SHARE = re.compile(
    r"\s?(?:%|percent|per cent)\s(?:of\s(?:the\s|all\s)?(?:images|examples|data|pixels|labels|units|weights|classes|"
    r"time|steps))",
    re.I,
)
_LIST = rf"(?:{SIGNED}\s?%?\s?(?:,|and|or|to|–|-|/)\s?){{0,12}}"
_SETTING_BEFORE = re.compile(
    r"(?:learning[- ]rates?|dropout(?: rates?)?|(?<!error )(?<!accuracy )(?<!failure )(?<!success )\brates?|\blr|"
    r"momentum|decay|smoothing|mixup|alpha|beta|epsilon|variance|scale|factor|\blevel|margin|seeds?|epochs?|steps?|"
    r"batch(?:es)?(?: sizes?)?|filters?|layers?|version|jax|python|figures?|fig\.|tables?|tab\.|sections?|sec\.|"
    r"equation|eq\.|chapter|page|appendix|sizes?|width|depth|\bpower|\bn|\bevery|\beach|\bp\s?<|threshold|clip\w*|"
    r"\bnorm|split|confidence)\s?(?:of|=|:|is|was|are|at|from|between|≈|in|by)?\s?"
    rf"{_LIST}$",
    re.I,
)
_SETTING_AFTER = re.compile(r"\s?%?\s?(?:learning rate|momentum|dropout|weight decay|label smoothing)", re.I)
_RATIO = re.compile(r"\b(?:by|of) a factor (?:of|about|nearly)\s?$", re.I)
_BETTER = re.compile(r"improv|fast|slow|bett|wors|high|low|less|more|spe(?:e|d)", re.I)
_ALONE = re.compile(rf"[\s#-]*(?P<number>{SIGNED}\s?%?)[\s.]*")
_BOUND = re.compile(
    r"(?:accura\w+|error rates?|\berrors?|\bloss(?:es)?|\bscores?|\brecall|\bF1|\bAUC)\s?(?:\([^()]{0,30}\)\s?)?"
    r"(?:(?:of|is|was|are|were|at|to|:|=|reach\w*|attain\w*|exceed\w*|above|below|about|around|approximately|nearly|"
    r"over|≈|~|[<>]=?|by|than|just|only|still|now|near|up|down|between|from)\s?){0,4}"
    rf"(?:{SIGNED}\s(?:and|to|or)\s)?$|\b(?:or|from|versus|vs\.?|against|than)\s$",
    re.I,
)
_NOUN_BEHIND = re.compile(
    rf"(?:\s?(?:to|and|or|,|–|-)\s?{SIGNED}){{0,3}}\s"
    r"(?!(?:and|or|if|but|with|on|for|in|at|to|after|when|while|versus|vs|against|than|by|over|from|as)\b)[A-Za-z]"
)
_OUT_OF = re.compile(rf"\s(?:out\s)?of\s(?:the\s)?{NUMBER}(?!\s?(?:seeds|runs|trials|networks|cells|training|were\b))")
_SPREAD = re.compile(r"±\s?$")
_P_VALUE = re.compile(r"\bp\s?[=≈]\s?$", re.I)


def claims(block: Block) -> Iterator[Span]:
    """The spans of the numbers that claim a result, including their units."""
    text = block.text
    if len(text) < 60 and (alone := _ALONE.fullmatch(text)):
        yield alone.span("number")
        return
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        if match[0][-1].isalpha():
            continue  # the 5th
        begin, stop = block.sentence(start)
        before, behind = text[max(begin, start - 90) : start], text[end : min(stop, end + 60)]
        cell = block.cell(start)
        unit = _UNIT.match(behind)
        if unit is not None and unit["time"] == "s" and "." not in match[0] and unit[0] == "s" and len(match[0]) >= 4:
            unit = None  # the 1990s
        if cell is not None and not _is_sentence(cell, text):
            claimed = _in_cell(match[0], cell, block, unit is not None, before, behind)
        else:
            claimed = _in_sentence(
                match[0], before, behind, text[max(begin, start - NEAR) : min(stop, end + NEAR)], unit
            )
        if claimed:
            yield start, end + (unit.end() if unit else 0)


def _is_sentence(cell: Cell, text: str) -> bool:
    """True if a table cell holds prose; it is then read as prose."""
    return len(text[slice(*cell.span)].split()) > 12


def _in_cell(number: str, cell: Cell, block: Block, unit: bool, before: str, behind: str) -> bool:
    if _LEVEL.match(behind) or _SETTING_BEFORE.search(before):
        return False
    if unit or _SPREAD.search(before):
        return True
    if "." not in number and _NOUN_BEHIND.match(behind) and not _RESULT.match(behind.lstrip()):
        return False  # 2 cores
    label = "" if cell is block.cells[0] else block.label
    if _HEADING.search(cell.heading):
        return not (re.search(r"param|size|images|rate\b", cell.heading, re.I) and not _RESULT.search(cell.heading))
    if _SETTING_HEADING.search(cell.heading):
        return False
    if _RESULT.search(label):
        return True
    return "." in number and not _SETTING_HEADING.search(label) and cell is not block.cells[0]


def _in_sentence(number: str, before: str, behind: str, sentence: str, unit: re.Match[str] | None) -> bool:
    if _SPREAD.search(before) or _P_VALUE.search(before):
        return True
    if _RATIO.search(before) and _BETTER.search(sentence) and "rate" not in sentence:
        return True
    if _LEVEL.match(behind) or _SETTING_BEFORE.search(before) or _SETTING_AFTER.match(behind):
        return False
    if unit is not None:
        if unit["percent"] and _SHARE_OF_DATA.match(behind):
            return False
        return not (unit["percent"] and _SHARE.match(behind) and not _RESULT.search(sentence))
    if _FACTOR.match(behind):
        return True
    if not _RESULT.search(sentence):
        return False
    if "." in number or "e-" in number:
        return True
    return bool(_OUT_OF.match(behind)) or bool(_BOUND.search(before) and not _NOUN_BEHIND.match(behind))
