"""The benchmark runs, its tables come from its JSON alone, it compares the same networks with the same loss."""

import ast
import json
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import ROOT, finish, refused

sys.path.insert(0, str(ROOT / "scripts"))

from bench import flax_peer, pages, table, works

from cnn_jax.losses import cross_entropy
from cnn_jax.zoo import build

SCRIPT = ("-m", "cnn_jax", "bench", "step")


@pytest.mark.slow
def test_quick_measures_every_contender_and_writes_its_files(tmp_path):
    code, out, err = finish(*SCRIPT, "--quick", "--out", tmp_path, "--batch-size", "16")
    assert code == 0, err
    measured = json.loads((tmp_path / "step.json").read_text())
    assert list(measured["works"]) == ["L"]
    contenders = measured["works"]["L"]["contenders"]
    assert list(contenders)[:2] == ["ours", "flax"]
    assert "--out DIR" in measured["command"]
    assert str(tmp_path) not in (tmp_path / "step.json").read_text()
    flops = measured["works"]["L"]["flops_per_image"]
    for one in (*contenders.values(), *measured["ceiling"]["products"].values()):
        assert one["n"] == len(one["ms_per_step"]) == 2
        quartiles = [one[name] for name in ("min", "lower_quartile", "median", "upper_quartile", "max")]
        assert quartiles == sorted(quartiles)
    for one in contenders.values():
        assert one["images_per_second"] == pytest.approx(16 / one["median"] * 1e3)
        assert one["gflops_per_second"] == pytest.approx(flops * one["images_per_second"] / 1e9)
        assert one["compile_seconds"] > 0
    ratio = contenders["flax"]["median"] / contenders["ours"]["median"]
    assert measured["works"]["L"]["against"]["flax"] == {"contender": "flax", "ratio": pytest.approx(ratio)}
    assert measured["versions"]["jax"] == jax.__version__
    assert (tmp_path / "step.md").read_text() == table.markdown(measured) == out


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "names"), [("epoch", ["ours", "flax"]), ("start", ["ours", "ours-lax"])])
def test_the_other_modes(tmp_path, mode, names):
    arguments = ("--works", "L", "--rounds", "1", "--steps", "1", "--batch-size", "16", "--contenders", *names)
    code, _, err = finish(*SCRIPT, "--mode", mode, *arguments, "--out", tmp_path)
    assert code == 0, err
    work = json.loads((tmp_path / f"{mode}.json").read_text())["works"]["L"]
    contenders = work["contenders"]
    assert list(contenders) == names
    if mode == "epoch":
        assert [one["steps"] for one in contenders.values()] == [works.BATCHES] * 2  # one dispatch takes as many
    else:
        assert all(0 < one["seconds"][0] < 300 for one in contenders.values())
        assert work["facts"]["ours-lax"]["implementation"] == "lax"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rounds", "0"), "--rounds 0: it must be at least 1"),
        (("--batch-size", "-1"), "--batch-size -1: it must be at least 1"),
        (("--works", "Z"), "invalid choice 'Z'"),
        (
            ("--contenders", "keras"),
            "--contenders keras: known here are ours, ours-canonical, ours-lax, ours-untuned, flax",
        ),
        (("--torch", "/no/such/python"), "/no/such/python cannot be started"),
        (("--torch", "false"), "--torch false does not import numpy and torch"),
        (("--axis", "width", "--mode", "start"), "--axis goes neither"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(arguments, words):
    assert words in refused(*SCRIPT, *arguments)


def one(median, framework, **more):
    return {
        "n": 3, "median": median, "lower_quartile": median - 1, "upper_quartile": median + 1, "min": median - 2,
        "max": median + 2, "framework": framework, **more,
    }  # fmt: skip


def made_up(mode="step"):
    """A file as the benchmark writes it, its numbers easy to recognise."""
    more = {"compile_seconds": 4.0, "images_per_second": 12800.0, "gflops_per_second": 50.0, "ceiling_fraction": 0.25}
    names = {"ours": (10.0, "cnn_jax"), "flax": (20.0, "flax"), "torch-eager": (30.0, "torch")}
    contenders = {name: one(*values, **(more if mode == "step" else {})) for name, values in names.items()}
    ratios = {"flax": ("flax", 2.0), "torch": ("torch-eager", 3.0)}
    work = {
        "network": "conv5-6 dense-10", "shape": [28, 28, 1], "contenders": contenders,
        "skipped": {"torch-compile": "torch-compile on L: no compiler"},
        "against": {rival: {"contender": name, "ratio": ratio} for rival, (name, ratio) in ratios.items()},
    }  # fmt: skip
    found = {
        "mode": mode, "axis": None, "command": "cnn-jax bench step", "started": "2030-01-02T03:04:05",
        "rounds": 3, "batch_size": 128, "versions": {"jax": "1", "flax": "2", "optax": "3"},
        "torch": {"torch": "4"}, "device": {"backend": "cpu", "kind": "cpu", "cpu": "a machine"}, "works": {"L": work},
    }  # fmt: skip
    return found | ({"ceiling": {"size": 2048, "gflops_per_second": 200.0}} if mode == "step" else {})


def test_the_tables_come_from_the_json_alone():
    text = table.markdown(made_up())
    rows = text.splitlines()
    assert (
        "| L: `conv5-6 dense-10`, 28x28x1 | 10.0 (9.00 – 11.0) | 20.0 (19.0 – 21.0) | 30.0 (29.0 – 31.0) eager "
        "| 2.00 | 3.00 |"
    ) in rows
    assert "| L | ours | 10.0 (9.00 – 11.0) | 8.00 | 12.0 | 3 | 4.00 | 12,800 | 50.0 | 25 % |" in rows
    assert "- torch-compile on L: no compiler" in rows
    assert "jax 1, flax 2, optax 3, torch 4; 2030-01-02" in text
    assert "reached 200 GFLOP/s" in text
    for block in text.split("\n\n"):
        assert len({row.count("|") for row in block.strip().splitlines()}) == 1 or not block.startswith("|")
    start = table.markdown(made_up("start") | {"build": one(15.0, "")})
    assert "not in the rows above: 15.0 (14.0 – 16.0) s, n = 3" in start
    assert "seconds to the first step" in start
    assert "GFLOP/s" not in start


def test_the_heading_names_the_vectors():
    assert "a machine; jax" in table.heading(made_up())
    assert "a machine, avx512 vectors; jax" in table.heading(made_up() | {"vectors": "avx512"})
    limited = {"vectors": "avx2", "command": "cnn-jax bench step --vectors avx2"}
    assert "a machine, avx2 vectors and no wider ones allowed; jax" in table.heading(made_up() | limited)


def test_an_axis_is_a_row_for_each_value():
    points = [{"batch": size, "contenders": {"ours": one(size / 2, "cnn_jax")}} for size in (16, 32)]
    text = table.markdown(made_up() | {"mode": "axis", "axis": "batch", "points": points})
    assert "| batch | ours |\n| --- | --- |\n| 16 | 8.00 (7.00 – 9.00) |\n| 32 | 16.0 (15.0 – 17.0) |\n" in text


def test_the_pages_take_the_tables_between_their_marks(tmp_path):
    for kind in ("step", "start"):
        (tmp_path / f"{kind}.md").write_text(table.markdown(made_up(kind)))
    (tmp_path / "axis-batch.png").touch()
    content = pages.page(tmp_path, ROOT / "docs")
    tables, _, link = content.partition("\n![")
    assert tables == f"{table.markdown(made_up())}\n{table.markdown(made_up('start'))}"
    assert link.endswith("/axis-batch.png)\n")
    for path in (ROOT / "docs" / "performance.md", ROOT / "README.md"):
        before = path.read_text()
        after = pages.between_marks(before, content)
        assert content in after
        assert pages.between_marks(after, "") == pages.between_marks(before, "")
    with pytest.raises(ValueError, match="holds nothing"):
        pages.page(tmp_path / "elsewhere", ROOT / "docs")


# In the order in which they run: a WideResNet ends in a batch norm.
KINDS = {"Conv": "conv", "WideBlock": "res", "BatchNorm": "bn", "Block": "res", "Dense": "dense"}


def with_weights(params, ours, counts, block=None):
    """`params` of a Flax network with our layers' in their place: of each kind the first for the first, and so on. The
    third of a kind in a block is the projection."""

    def order(name):
        kind, number = name.split("_")
        return list(KINDS).index(kind), int(number)

    copied = {}
    for name in sorted(params, key=order):
        kind = KINDS[name.split("_")[0]]
        if block and name.endswith("_2"):
            copied[name] = ours[f"{block}_{kind}"]
            continue
        counts[kind] += 1
        own = f"{kind}{counts[kind]}"
        copied[name] = with_weights(params[name], ours, counts, own) if kind == "res" else ours[own]
    return copied


def random_weights(network):
    """Variables with parameters at random, none of them 0 or 1, made without a compilation."""
    random = np.random.default_rng(3)
    shapes = jax.eval_shape(network.init, jax.random.key(0))

    def weights(leaf):
        if len(leaf.shape) == 1:
            return jnp.asarray(1 + 0.1 * random.standard_normal(leaf.shape), leaf.dtype)
        return jnp.asarray(np.sqrt(2 / np.prod(leaf.shape[:-1])) * random.standard_normal(leaf.shape), leaf.dtype)

    return {"params": jax.tree.map(weights, shapes["params"]), "batch_stats": ones(shapes["batch_stats"])}


def ones(tree):
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in works.CPU_WORKS else pytest.mark.slow) for n in works.WORKS]
)
def test_stock_flax_has_our_network(name):
    """The same number of parameters; with copied weights the same loss in training mode."""
    work = works.WORKS[name]
    network = build(work.text, work.shape, works.CLASSES)
    state = jax.eval_shape(lambda: flax_peer.initial_state(work))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == network.parameters
    variables = random_weights(network)
    params = with_weights(state.params, variables["params"], Counter())
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, state.params)
    images, labels = (part[0] for part in works.normalised_batches(work, 8))

    @jax.jit
    def losses(variables, params, batch_stats, images, labels):
        logits, _ = network.apply_train(variables, images, key=jax.random.key(2))
        theirs, _ = flax_peer.mean_loss(params, state.replace(batch_stats=batch_stats), images, labels)
        return cross_entropy(logits, labels).mean(), theirs

    with jax.numpy_rank_promotion("allow"):
        ours, theirs = losses(variables, params, ones(state.batch_stats), images, labels)
    assert ours > 0.1
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)


def test_the_works_are_those_of_the_page():
    text = (ROOT / "docs" / "performance.md").read_text()
    for work in works.WORKS.values():
        assert f"| {work.name} | `{work.text}`" in text
    assert works.work_of("L", 12).filters == (12, 32)


def test_a_table_of_a_gpu_names_precisions_batches_and_what_is_busy():
    """From the JSON of a small measurement, with the numbers that a GPU would add."""
    times = {
        "n": 2,
        "framework": "cnn_jax",
        "images_per_second": 5.0,
        "gflops_per_second": 7.0,
        "ceiling_fraction": 0.5,
    }
    times |= dict.fromkeys(("median", "lower_quartile", "upper_quartile", "min", "max", "compile_seconds"), 2.0)
    rival = {**times, "framework": "torch", "median": 3.0, "utilisation": None}
    work = {
        "network": "resnet20", "shape": [32, 32, 3], "batch_size": 512, "skipped": {},
        "contenders": {"ours": {**times, "utilisation": 0.9}, "torch-graph-channels_last": rival},
        "against": {"torch": {"contender": "torch-graph-channels_last", "ratio": 1.5}},
    }  # fmt: skip
    measured = {
        "mode": "epoch", "axis": None, "rounds": 2, "trials": 1, "batch_size": 128, "torch": {"torch": "2"},
        "versions": {"jax": "1", "flax": "1", "optax": "1"}, "started": "2026-11-27T00", "command": "c",
        "device": {"backend": "gpu", "kind": "H100", "cpu": "Xeon"}, "works": {"R18 bfloat16": work},
        "ceilings": {"bfloat16": {"size": 8192, "gflops_per_second": 700_000.0}},
    }  # fmt: skip
    text = table.markdown(measured)
    assert "batch of 512, 2 rounds" in text
    assert "The ceiling in bfloat16, a product of 8,192 x 8,192: 700 TFLOP/s." in text
    assert (
        "| R18 bfloat16: `resnet20`, 32x32x3 | 2.00 (2.00 – 2.00) | 3.00 (2.00 – 2.00) graph-channels_last | 1.50 |"
        in text
    )
    assert "| R18 bfloat16 | ours | 2.00 (2.00 – 2.00) | 2.00 | 2.00 | 2 | 2.00 | 5 | 7.00 | 50 % | 90 % |" in text


def test_the_torch_worker_knows_nothing_of_jax():
    """Nor does what it imports: it runs where neither JAX nor this package is installed."""
    folder, seen, queue = ROOT / "scripts" / "bench", set(), ["torch_peer"]
    while queue:
        seen.add(name := queue.pop())
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            parts = [name.split(".") for name in names]
            assert not {part[0] for part in parts} & {"jax", "flax", "optax", "cnn_jax"}
            queue += {part[1] for part in parts if part[0] == "bench"} - seen
    assert seen == {"torch_peer", "worker", "works", "malloc"}
