"""Text from elsewhere: networks, configs, command lines. Understood, or refused in one line within bounds."""

import contextlib
import io
import json
import os
import random
import time
from collections import Counter

import pytest
from commands import finish, refused
from counting import cases, count
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax import geometry, notation, untrusted
from cnn_jax.cli import common, main, sweep, train
from cnn_jax.errors import CnnJaxError, RequestError, quote
from cnn_jax.network import Network
from cnn_jax.training.augment import parse as parse_augmentation
from cnn_jax.training.config import Config
from cnn_jax.typed import convert
from cnn_jax.zoo import layers_of

MOST = 2_100  # characters of a message
SECONDS = 3.0  # for any single input, on a busy machine


def answered(work, *arguments):
    """'met' or 'refused'; fails at any other exception, a long or ragged message, or a long wait."""
    started = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            work(*arguments)
        answer, message, code = "met", "", 0
    except CnnJaxError as error:
        answer, message, code = "refused", str(error), 0
    except SystemExit as stop:  # --help
        answer, message, code = "met", "", stop.code
    assert code == 0
    assert len(message) <= MOST, message[:300]
    seconds = time.process_time() - started
    assert seconds < SECONDS, (seconds, quote(arguments))
    return answer


def described(text):
    """A network of a text, with all that can be said of it."""
    layers = layers_of(text)
    network = Network((16, 16, 3), layers)
    json.dumps(geometry.describe(network))
    with contextlib.suppress(RequestError):  # what the notation cannot say
        assert notation.parse(notation.format(layers)) == layers
    assert notation.from_json(json.loads(json.dumps(notation.to_json(layers)))) == layers


def ended(command, words):
    """A command as a program: also what it has no words of its own for, as a path too long for the system, ends where
    every command ends, in one line."""
    try:
        return answered(command, words)
    except OSError as error:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = common._end(error)
        line = said.getvalue()
        assert code == 1
        assert line.count("\n") == 1
        assert len(line) <= MOST, line[:300]
        return "refused"


LONG = 60_000
HUGE = "9" * 4000
TEXTS = {
    "deep blocks": "res( " * 10_000 + "relu" + " )" * 10_000,
    "a few blocks too deep": "res( " * 40 + "relu" + " )" * 40,
    "unclosed": "res( " * 10_000,
    "a digit too many": f"conv3-{10**30}",
    "thousands of digits": f"conv3-{HUGE} dense-{HUGE}",
    "more than Python reads": f"dense-{'9' * 100_000}",
    "quadratic rate": "drop" + "1" * LONG + "x",
    "quadratic rate in a short token": "drop" + "1" * 190 + "x",
    "infinite rate": "drop" + "9" * 190,
    "long token": "x" * LONG,
    "long option": "conv3-4:" + "y" * LONG,
    "many options": "conv3-4" + ":same" * LONG,
    "too much": "relu " * 1_000_000,
    "many layers": "relu " * 2_000,
    "growing field": "conv1-1/1000000000:pad999999999 " * 60,
    "huge map": "pad999999999 " * 3 + "conv1-1000000000",
    "digits of another script": "conv٣-٤ dense-١٠",
    "control characters": "conv3-4\x00relu\x1b[31m",
    "half a character": "conv3-4 \ud800",
    "empty": "",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_network_of_hostile_text_is_answered_in_bounds(name):
    expected = "met" if name in ("many layers", "digits of another script") else "refused"
    assert answered(described, TEXTS[name]) == expected


def nested(depth):
    value = [{"layer": "Activation", "kind": "relu"}]
    for _ in range(depth):
        value = [{"layer": "Residual", "body": value}]
    return value


JSON = {
    "deep blocks": '[{"layer": "Residual", "body": ' * 10_000 + "[]" + "}]" * 10_000,
    "a few blocks too deep": json.dumps(nested(40)),
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "unclosed strings": '[{"' + '\\"' * 100_000,
    "deep in a field": json.dumps([{"layer": "Conv", "features": json.loads("[" * 90 + "]" * 90)}]),
    "thousands of digits": f'[{{"layer": "Dense", "features": {HUGE}}}]',
    "more than Python reads": f'[{{"layer": "Dense", "features": {"9" * 100_000}}}]',
    "thirty digits": f'[{{"layer": "Dense", "features": {"9" * 29}}}]',
    "not a number": '[{"layer": "Dropout", "rate": NaN}]',
    "infinity by digits": '[{"layer": "Dropout", "rate": 1e999}]',
    "a name twice": '[{"layer": "Dense", "features": 1, "features": 2}]',
    "a long name": json.dumps([{"layer": "Dense", "x" * LONG: 1}]),
    "a long value": json.dumps([{"layer": "Dense", "features": "x" * LONG}]),
    "a long class": json.dumps([{"layer": "x" * LONG}]),
    "many layers": json.dumps([{"layer": "Activation", "kind": "relu"}] * 20_000),
    "a kind that is no text": '[{"layer": ["Dense"], "features": 1}]',
    "no codes": '[{"layer": "RadialBasis", "codes": []}]',
    "ragged codes": '[{"layer": "RadialBasis", "codes": [[1, 1], [1]]}]',
    "empty codes": '[{"layer": "RadialBasis", "codes": [[]]}]',
    "negative channels": '[{"layer": "Conv", "features": 1, "size": 1, "connections": [[-1]]}]',
    "no list": '{"layer": "Dense"}',
    "half a character": '[{"layer": "\\ud800"}]',
}


@pytest.mark.parametrize("name", JSON)
def test_a_network_of_hostile_json_is_answered_in_bounds(name):
    assert answered(lambda text: described(untrusted.parse_json(text, "--network")), JSON[name]) == "refused"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested more than 100 deep"),
        (b'{"epochs": ' + b"9" * 5000 + b"}", "has more than 30 digits"),
        (b'{"epochs": 99999999999999999999}', "epochs = 99999999999999999999 is too large"),
        (b'{"learning_rate": NaN}', "NaN is not a JSON number"),
        (b'{"learning_rate": 1e999}', "is too large"),
        (b'{"epochs": 1, "epochs": 2}', "the name 'epochs' appears twice"),
        ('{"epochs": 1}'.encode("utf-16"), "is not UTF-8: byte 0 is 0xff"),
        (b'{"dataset": "\xff"}', "is not UTF-8"),
        (b'\xef\xbb\xbf{"epochs": 0}', "epochs = 0 must be at least 1"),  # a byte order mark is no fault
        (b'{"dataset": "a\\u0000b"}', "is not text: it has a NUL"),
        (b'{"dataset": "\\ud800"}', "is not text"),
        (b'{"' + b"x" * 100_000 + b'": 1}', "is unknown"),
        (b'{"network": "' + b"x" * 100_000 + b'"}', "is unknown; there are guide"),
        (b'{"axes": [1]}', "axes"),
        (b'{"axes": {"learning_rate": 0.1}}', "axis learning_rate"),
        (b'{"axes": {"seed": ["a"]}}', "axis seed"),
        (b"", "is not JSON"),
        (b"[1]", "should be a JSON object"),
    ],
)
def test_a_config_file_from_elsewhere_is_refused_with_its_reason(tmp_path, content, words):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    arguments = ["--config", str(path), "--out", str(tmp_path / "out"), "--dataset", "digits"]
    command = sweep.command if b"axes" in content else train.command
    with pytest.raises(RequestError) as error:
        command(arguments)
    assert words in str(error.value), str(error.value)[:300]
    assert len(str(error.value)) <= MOST
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_config(tmp_path):
    """A folder, nothing, a gigabyte, one that never ends: in real processes, in one line."""
    train = ("experiments/train.py", "--out", tmp_path / "out", "--config")
    assert "is not a run's folder: it has no config.json" in refused(*train, tmp_path)
    assert "does not exist" in refused(*train, tmp_path / "none.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(1 << 30)
    assert "is too large: more than 67,108,864 bytes" in refused(*train, tmp_path / "large.json")
    assert "is too large" in refused(*train, "/dev/zero")
    code, _, err = finish(*train[:2], tmp_path / ("n" * 300), "--epochs", "1")
    assert (code, len(err.splitlines())) in ((1, 1), (2, 1)), err
    assert "File name too long" in err


@settings(max_examples=150, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20))
def test_any_value_is_quoted_within_bounds_and_checked_against_any_hint(value):
    assert len(quote(value)) < 300
    for hint in (int, float, str, bool, int | None, tuple[float, ...], list):
        assert answered(convert, "field", value, hint) in ("met", "refused")


def test_what_is_deep_or_large_is_quoted_within_bounds():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, 10**10_000, "x" * 10**7, dict.fromkeys(range(10**4), "y" * 1000), [10**6000] * 99):
        assert len(quote(value)) < 300
    assert quote(10**10_000) == "a whole number of about 10,000 digits"
    while deep:
        deep = deep.pop()  # Python frees nested lists recursively


def test_a_message_is_bounded_whatever_it_quotes():
    message = str(RequestError("network " + "x" * 10**6 + " is unknown"))
    assert len(message) < MOST
    assert message.startswith("network xxx")
    assert message.endswith(" is unknown")


WORDS = (
    "conv3-4", "conv3-4:same", "conv5-6/2:pad2:g2", "max2", "avg3/2:ceil", "res(", ")", "):proj", "):padA", "relu",
    "bn", "gap", "pad2", "lrn5", "sub2", "drop0.5", "dense-10", "dense-10:nobias", "lenet5", "resnet20", "tanh",
)  # fmt: skip
BITS = (
    "0",
    "9" * 40,
    "-1",
    "1e9",
    ":",
    "/",
    "-",
    " ",
    "\n",
    "\0",
    "é",
    "(",
    "res( " * 50,
    ":pad99999999",
    "\ud800",
    "x" * 999,
)


def text_of(chance):
    """A network in words of the notation, mutated."""
    text = " ".join(chance.choices(WORDS, k=chance.randrange(1, 8)))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice((*BITS, "", text[at : at + 9])) + text[at + chance.randrange(3) :]
    return text


VALUES = (
    0, -1, 1, 2**70, 0.5, 1e308, True, None, "", "digits", "x" * 9999, [], [1], [[0.1]], {}, {"a": 1}, "0.1", [[]],
)  # fmt: skip


def config_of(chance):
    """A config with some fields of any value, as the text of a file, sometimes damaged."""
    values = Config().to_json()
    values = {name: values[name] for name in chance.sample(list(values), k=chance.randrange(1, 9))}
    for name in list(values):
        if chance.random() < 0.4:
            values[name] = chance.choice(VALUES)
        elif chance.random() < 0.05:
            values[name + chance.choice("xé_")] = values.pop(name)
    if chance.random() < 0.3:
        values["network"] = notation.to_json(notation.parse("conv3-4 res( conv3-4:same relu ) dense-10"))
        layer = chance.choice(values["network"])
        layer[chance.choice([*layer, "size", "body"])] = chance.choice(VALUES)
    text = json.dumps(values)
    if chance.random() < 0.2:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(("", '"', "}", "\\", "NaN", "\ud800", "[" * 200)) + text[at + 1 :]
    return text


def read_config(text):
    Config.from_json(untrusted.parse_json(text, "config.json"))


OPTIONS = (
    "--network", "--epochs", "--learning-rate", "--seeds", "--axis", "--filters", "--config", "--out", "--resume",
    "--validation", "--optimizer", "--augment", "--json", "--input", "--help", "--count", "--format", "--init",
)  # fmt: skip


def line_of(chance, verb):
    """Arguments of a command: options and values, known and not; no data set, so that nothing is trained."""
    words = []
    for _ in range(chance.randrange(1, 6)):
        words.append(chance.choice((*OPTIONS, chance.choice(OPTIONS)[:-1] + chance.choice("=x"))))
        if chance.random() < 0.8:
            words.append(chance.choice((text_of(chance), str(chance.choice(VALUES)), "learning_rate=1,2", "nowhere")))
    return [*([verb, text_of(chance)] if verb else []), *words, *([] if verb else ["--dataset", "nowhere"])]


COMMANDS = {
    "train": train.command, "sweep": sweep.command,
    **dict.fromkeys(("describe", "export", "cite", "compare", "see", "predict"), main.command),
}  # fmt: skip


def test_fuzzed_text_is_answered_in_one_line(request, record_property, tmp_path, monkeypatch):
    """Seeded: the same texts each time. Networks, augmentations, configs, then command lines; ten times as many with
    --slow."""
    monkeypatch.chdir(tmp_path)
    chance, times = random.Random(1), cases(request, quick=1, slow=10)
    counts, failures = {name: Counter() for name in ("networks", "augmentations", "configs", "command lines")}, {}

    def try_out(kind, answer, work, given):
        try:
            counts[kind][answer(work, given)] += 1
        except Exception as error:
            counts[kind]["failed"] += 1
            failures.setdefault(kind, []).append(f"{quote(given)}: {quote(error)}")

    for _ in range(300 * times):
        try_out("networks", answered, described, text_of(chance))
        token = chance.choice(("crop", "mixup", "cutout")) + chance.choice((text_of(chance), "4", "0.2", "9" * 30))
        try_out("augmentations", answered, parse_augmentation, token)
        try_out("configs", answered, read_config, config_of(chance))
    for _ in range(6 * times):
        for name, command in COMMANDS.items():
            words = line_of(chance, "" if name in ("train", "sweep") else name)
            words = [word for word in words if "\ud800" not in word and "\0" not in word]
            try_out("command lines", ended, command, words)
    for kind, answers in counts.items():
        count(record_property, f"fuzzed {kind}", tried=answers.total(), failures=failures.get(kind, ()))
    assert counts["networks"]["met"] > 10 * times
    assert counts["configs"]["met"] > 10 * times


@pytest.mark.parametrize("command", [train.command, sweep.command])
def test_a_folder_to_resume_with_a_name_too_long_is_refused_in_one_line(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ended(command, ["--resume", "--out", "x" * LONG]) == "refused"


def test_no_command_has_the_surrogates_of_a_broken_argument(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train", os.fsdecode(b"--out=\xff")])
    with pytest.raises(RequestError, match="is not UTF-8"):
        common._arguments()
