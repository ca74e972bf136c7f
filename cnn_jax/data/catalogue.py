"""The built-in data sets: shape, classes, sizes, size of the validation split, licence, citation, archives.

Everything here is stated by the sources themselves and pinned by tests. `train` counts the examples before the
validation split is taken from them; `test` is the source's own test split, used only for final scoring. If `test` is 0,
the source has no splits: 15 % of each class become the test split and 15 % the validation split, by the split seed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """A file as its publisher serves it. `sha256` is the checksum that TFDS records for it."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Entry:
    """`shape` is (height, width, channels), `validation` the default number of train examples held out for validation,
    `citation` a key of references.bib."""

    name: str
    title: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train: int
    test: int
    validation: int | None
    licence: str
    citation: str
    archives: tuple[Archive, ...]


IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
DIGIT_NAMES = tuple("0123456789")

DIGITS = Entry(
    name="digits",
    title="Optical recognition of handwritten digits, 8x8, as in scikit-learn",
    shape=(8, 8, 1),
    class_names=DIGIT_NAMES,
    train=1797,
    test=0,
    validation=None,
    licence="CC BY 4.0 (UCI Machine Learning Repository); as packaged by scikit-learn, BSD-3-Clause",
    citation="alpaydin1998optical",
    archives=(),
)

MNIST = Entry(
    name="mnist",
    title="The MNIST database of handwritten digits",
    shape=(28, 28, 1),
    class_names=DIGIT_NAMES,
    train=60000,
    test=10000,
    validation=5000,
    licence="CC BY-SA 3.0",
    citation="lecun1998gradient",
    archives=tuple(
        map(
            Archive,
            IDX_FILES,
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        )
    ),
)

FASHION_MNIST = Entry(
    name="fashion_mnist",
    title="Fashion-MNIST, Zalando's article images",
    shape=(28, 28, 1),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    train=60000,
    test=10000,
    validation=5000,
    licence="MIT",
    citation="xiao2017fashion",
    archives=tuple(
        map(
            Archive,
            IDX_FILES,
            (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        )
    ),
)

CIFAR10 = Entry(
    name="cifar10",
    title="CIFAR-10",
    shape=(32, 32, 3),
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    train=50000,
    test=10000,
    validation=5000,
    licence="none stated by the authors, who ask that the technical report be cited",
    citation="krizhevsky2009learning",
    archives=(Archive("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
)

KMNIST = Entry(
    name="kmnist",
    title="Kuzushiji-MNIST, cursive hiragana",
    shape=(28, 28, 1),
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    train=60000,
    test=10000,
    validation=5000,
    licence="CC BY-SA 4.0",
    citation="clanuwat2018deep",
    archives=tuple(
        map(
            Archive,
            IDX_FILES,
            (
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        )
    ),
)

FINE_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
    "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
    "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster "
    "man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck "
    "pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk "
    "skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger "
    "tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

CIFAR100 = Entry(
    name="cifar100",
    title="CIFAR-100, the fine classes",
    shape=(32, 32, 3),
    class_names=tuple(FINE_CLASSES.split()),
    train=50000,
    test=10000,
    validation=5000,
    licence="none stated by the authors, who ask that the technical report be cited",
    citation="krizhevsky2009learning",
    archives=(Archive("cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),),
)

ENTRIES = (DIGITS, MNIST, FASHION_MNIST, KMNIST, CIFAR10, CIFAR100)
CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}
