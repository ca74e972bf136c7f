"""Finds mentions in a note of a measure, statistic, split, data set, network, n, interval or setting.

Each `Dimension` is a pattern whose named groups are its possible values; a match of the group `ignored` does not count
("t test" is not the test split).
"""

import bisect
import functools
import re
from dataclasses import dataclass

from cnn_jax.report.notes.written import NUMBER
from cnn_jax.zoo import NETWORKS

_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
COUNT = rf"(?:{NUMBER}|no|none|{'|'.join(_WORDS)}|twenty|thirty)"


def count(text: str) -> int:
    """The value of a whole number in digits or as a word."""
    lowered = text.lower()
    if lowered in ("no", "none"):
        return 0
    tens = {"twenty": 20, "thirty": 30}
    if lowered in tens:
        return tens[lowered]
    return _WORDS.index(lowered) + 1 if lowered in _WORDS else int(min(float(lowered.replace(",", "")), 1e15))


@dataclass(frozen=True)
class Mention:
    start: int
    end: int
    value: str
    word: str


@dataclass(frozen=True)
class Dimension:
    """A property that words can name."""

    name: str
    pattern: re.Pattern[str]
    lasting: bool = True  # a mention applies to the rest of its paragraph, not only to its sentence

    def mentions(self, text: str) -> list[Mention]:
        mentions = []
        for match in self.pattern.finditer(text):
            group = match.lastgroup
            if group != "ignored" and group is not None:
                value = match[group] if group == "name" else group
                mentions.append(Mention(*match.span(), value, match[0]))
        return mentions


def _dimension(name: str, lasting: bool = True, **values: str) -> Dimension:
    groups = "|".join(rf"(?P<{value}>{pattern})" for value, pattern in values.items())
    return Dimension(name, re.compile(groups, re.I), lasting)


_SCORED = r"(?=\s(?:accura|error|loss|result|run\b|seed\b|trial|score|value|test|validation|single|number|of\b))"
_TOP5 = r"\btop[- ]?(?:5|five)\b[- ]?"

MEASURE = _dimension(
    "measure",
    ignored=r"\berror bars?\b|\bstandard errors?\b|\bloss function|\baccuracy of the (?:loss|gradient)",
    top5_accuracy=rf"{_TOP5}\s?(?:test\s|validation\s)?accurac\w+",
    top5_error=rf"{_TOP5}\s?(?:test\s|validation\s)?errors?\b",
    top5=_TOP5,
    accuracy=r"\baccura\w+|\bacc\b|\bcorrect(?:ly)?\b",
    error=r"\berrors?\b|misclassif\w+|\bmistakes?\b|\bwrong(?:ly)?\b",
    loss=r"\bloss(?:es)?\b|\bcross[- ]entropy\b",
    other=r"\brecall\b|\bF1\b|\bAUC\b|\bAUROC\b|\bmAP\b|\bprecision\b|\bperplexity\b|\bcalibration\b|\bECE\b|\bspeed-?up\b",
)
STATISTIC = _dimension(
    "statistic",
    ignored=r"\b(?:mean|average|averaged?|max(?:imum)?)\s(?:pool\w*|image|pixel|subtraction|(?:of the )?weights?)"
    r"|\bepochs? (?:of|with) the best validation|\bintervals? of the median\b",
    median=r"\bmedians?\b",
    mean=r"\bmean\b|\baverages?\b|\baveraged\b|\bavg\b",
    best=rf"\b(?:best|highest|maximum|maximal|peak|top|record){_SCORED}|\b(?:at|its|the)\sbest\b(?=\s?(?:[:,(]|is\b|$))"
    r"|\bup to\b|\bmaximum\b|\bpeaks?\b|\bbest of\b|\bas (?:high|much|good) as\b",
    worst=rf"\b(?:worst|lowest|minimum|minimal){_SCORED}|\bat (?:worst|least|most)\b",
    single=r"\b(?:one|a single|single) (?:run|seed|trial)\b|\bwith seed \d",
    spread=r"\bstandard deviations?\b|\bstd\b|\bvariance\b|\bstandard errors?\b|\bpercentiles?\b|\bquartiles?\b",
)
SPLIT = _dimension(
    "split",
    ignored=r"\bt[- ]tests?\b|\bsign(?:[- ]flips?)? tests?\b|\b(?:exact|one-sided|two-sided) tests?\b|\btest images?\b"
    r"|\b(?:chosen|selected|tuned|cho(?:ice|osing|ose)|select\w*|picked|decided)\b[^.;:,]{0,40}?\bvalidation"
    r"(?: (?:data|split|set|images|accuracy))?\b|\bheld out (?:for|as) validation\b|\btraining and "
    r"validation (?:images|data|examples|splits?|sets?)\b|\bvalidation (?:images|examples)\b"
    r"|\bbest validation accuracy\b",
    validation=r"\bvalidat\w+|\bval\b|\bdev(?:elopment)? (?:set|split)\b",
    training=r"\btrain(?:ing)?[- ](?:set |split |data )?(?:accuracy|loss|errors?)\b"
    r"|(?<=accuracy on )(?:the )?training|(?<=error on )(?:the )?training|(?<=loss on )(?:the )?training",
    test=r"\btest\b|\bheld-out\b",
)
ANSWER = _dimension(
    "answer",
    False,
    contradicted=r"\b(?:not|un)[ -]?supported\b|\bcontradicted\b|\brefuted\b|\brejected\b",
    supported=r"\bsupported\b|\bconfirmed\b",
    undecided=r"\binconclusive\b|\b(?:not|no) (?:statistically )?significan\w+|\binsignificant\b|\bundecided\b",
    significant=r"\bsignificant(?:ly)?\b",
    equivalent=r"\bequivalent\b|\bno (?:difference|effect)\b",
)
DATA = Dimension(
    "data",
    re.compile(
        r"\b(?P<name>fashion[-_ ]?mnist|"
        r"[a-z]?mnist|cifar[-_ ]?100|cifar[-_ ]?10|svhn|(?:tiny[-_ ])?imagenet|stl[-_ ]?10|"
        r"caltech[-_ ]?\d{3}|omniglot|places\d{3})(?![a-z0-9])",
        re.I,
    ),
)
_PUBLISHED = [name for name, entry in NETWORKS.items() if entry.parameters is not None and name != "guide"]
_ZOO = {re.sub(r"[^a-z0-9]", "", name): name for name in _PUBLISHED} | {"allcnnc": "allcnn"}
_OTHER = "densenet|efficientnet|mobilenet|inception|googlenet|squeezenet|convnext|vit|resnext"
_SPELLINGS = sorted((re.sub(r"(?<=[a-z])(?=\d)|_", "[-_ ]?", name) for name in _PUBLISHED), key=len)[::-1]
NETWORK = Dimension(
    "network",
    re.compile(rf"\b(?P<name>{'|'.join(_SPELLINGS)}|all[-_ ]?cnn(?:[-_ ]?c)?|(?:{_OTHER})\d*)(?![a-z0-9])", re.I),
)

N = re.compile(
    rf"\b[nN]\s?=\s?(?P<n>{NUMBER})|\bof\s(?P<of>{COUNT})\s(?:seeds|runs)\b|(?<![\w.,-])(?P<count>{COUNT})\s(?:(?:random|different|independent|finished)\s)?"
    r"(?:seeds|runs|pairs|repetitions|repeats)\b"
    r"(?!\s(?:have\s|has\s|had\s|which\s)?(?:diverge|fail|end|were at|are at|at))",
    re.I,
)
FAILED = re.compile(
    rf"(?<![\w.,-])(?P<count>{COUNT})\s(?:of\s(?:the\s|which\s|them\s|{COUNT}\s)*)?(?:(?:seeds?|runs?|networks?|trials?)\s)?"
    r"(?:have\s|has\s|had\s|ended\s|end\s|is\s|are\s|was\s|were\s)?(?P<how>diverged?|diverge|at chance)\b"
    rf"|(?P<named>\bdiverged|\bat chance)\s?[:=]\s?(?P<n>{NUMBER})",
    re.I,
)
LEVEL = re.compile(
    rf"(?<![\w.])(?P<level>{NUMBER})\s?%[\s-](?:[\w'’-]+\s){{0,3}}?(?:intervals?|CI\b|confidence|credible)", re.I
)
KIND = re.compile(
    r"(?P<t>\bt[- ]interval|\bstudent\b)|(?P<median>\bintervals? of the median\b)|"
    r"(?P<bootstrap>\bbootstrap\w*)|(?P<credible>\bcredible\b|\bbayesian\b)|"
    r"(?P<quartiles>\binter-?quartile\w*|\bIQR\b|\bquartiles?\b|\bpercentiles?\b)"
    r"|(?P<deviation>\bstandard deviations?\b|\bstd\b|\bs\.?d\.?\b|\bsigma\b)"
    r"|(?P<error>\bstandard errors?\b|\bs\.?e\.?m\.?\b)|"
    r"(?P<binomial>\bbinomial\b|\bWilson\b)",
    re.I,
)
SETTINGS = {
    "epochs": re.compile(rf"(?<![\w.,-])(?P<number>{NUMBER})\sepochs\b|\bepochs\s?=\s?(?P<n>{NUMBER})", re.I),
    "learning_rate": re.compile(
        rf"\blearning[- ]rate\s?(?:of|=|:|is|was)?\s?(?P<number>{NUMBER})(?!\s?(?:,\s?\d|and|or|to|–|-|/))"
        rf"|\blr\s?=\s?(?P<n>{NUMBER})",
        re.I,
    ),
    "batch_size": re.compile(
        rf"\bbatch(?:es)?(?: size)?\s?(?:of|=|:)?\s?(?P<number>{NUMBER})|\bbatch_size\s?=\s?(?P<n>{NUMBER})", re.I
    ),
    "filters": re.compile(rf"(?<![\w.,-])(?P<number>{NUMBER})\sfilters\b|\bfilters\s?=\s?(?P<n>{NUMBER})", re.I),
    "parameters": re.compile(
        rf"(?<![\w.,-])(?P<number>{NUMBER})\s(?:trainable\s)?parameters\b|\bparameters\s?=\s?(?P<n>{NUMBER})", re.I
    ),
}


def canonical(name: str) -> str:
    """A name in lower case without punctuation; for a network its registered name."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return _ZOO.get(plain, plain)


class Words:
    """The mentions in a text; each dimension is searched once."""

    def __init__(self, text: str):
        self.text = text

    @functools.cached_property
    def _by_dimension(self) -> dict[str, list[Mention]]:
        return {}

    def of(self, dimension: Dimension) -> list[Mention]:
        if dimension.name not in self._by_dimension:
            self._by_dimension[dimension.name] = dimension.mentions(self.text)
        return self._by_dimension[dimension.name]

    def between(self, dimension: Dimension, start: int, end: int) -> list[Mention]:
        mentions = self.of(dimension)
        first = bisect.bisect_left(mentions, start, key=lambda mention: mention.start)
        last = bisect.bisect_right(mentions, end, key=lambda mention: mention.end)
        return mentions[first:last]

    def last_before(self, dimension: Dimension, end: int) -> Mention | None:
        mentions = self.of(dimension)
        i = bisect.bisect_right(mentions, end, key=lambda mention: mention.end)
        return mentions[i - 1] if i else None
