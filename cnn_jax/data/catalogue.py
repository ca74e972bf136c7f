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
    """`shape` is (height, width, channels), None if the images differ in size; `class_names` is empty if the archive
    states them; `validation` the default number of train examples held out for validation, `citation` a key of
    references.bib."""

    name: str
    title: str
    shape: tuple[int, int, int] | None
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

CAPITALS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SMALL = tuple("abcdefghijklmnopqrstuvwxyz")
EMNIST_FILE = Archive("gzip.zip", "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e")


def _emnist(part: str, class_names: tuple[str, ...], train: int, test: int) -> Entry:
    return Entry(
        name=f"emnist_{part}",
        title=f"EMNIST, {part}: handwritten characters",
        shape=(28, 28, 1),
        class_names=class_names,
        train=train,
        test=test,
        validation=test,
        licence="none stated; NIST data, as a work of the United States government",
        citation="cohen2017emnist",
        archives=(EMNIST_FILE,),
    )


EMNIST = (
    _emnist("balanced", (*DIGIT_NAMES, *CAPITALS, *"abdefghnqrt"), 112_800, 18_800),
    _emnist("letters", CAPITALS, 124_800, 20_800),
    _emnist("digits", DIGIT_NAMES, 240_000, 40_000),
    _emnist("byclass", (*DIGIT_NAMES, *CAPITALS, *SMALL), 697_932, 116_323),
)

SVHN = Entry(
    name="svhn",
    title="Street View House Numbers, cropped digits",
    shape=(32, 32, 3),
    class_names=DIGIT_NAMES,
    train=73_257,
    test=26_032,
    validation=5000,
    licence="for non-commercial use",
    citation="netzer2011reading",
    archives=(
        Archive("train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        Archive("test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    ),
)

STL10 = Entry(
    name="stl10",
    title="STL-10, the labelled images",
    shape=(96, 96, 3),
    class_names=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    train=5000,
    test=8000,
    validation=500,
    licence="none stated by the authors; images of ImageNet",
    citation="coates2011analysis",
    archives=(Archive("stl10_binary.tar.gz", "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866"),),
)

TINY_IMAGENET = Entry(
    name="tiny_imagenet",
    title="Tiny ImageNet; its validation images are the test split",
    shape=(64, 64, 3),
    class_names=(),
    train=100_000,
    test=10_000,
    validation=5000,
    licence="images of ImageNet: for non-commercial research",
    citation="le2015tiny",
    archives=(Archive("tiny-imagenet-200.zip", "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"),),
)

IMAGENETTE = Entry(
    name="imagenette",
    title="Imagenette 2, shortest side 320 pixels; its validation images are the test split",
    shape=None,
    class_names=(
        "tench",
        "English springer",
        "cassette player",
        "chain saw",
        "church",
        "French horn",
        "garbage truck",
        "gas pump",
        "golf ball",
        "parachute",
    ),
    train=9469,
    test=3925,
    validation=500,
    licence="Apache 2.0; images of ImageNet: for non-commercial research",
    citation="howard2019imagenette",
    archives=(Archive("imagenette2-320.tgz", "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c"),),
)

CIFAR10_C = Archive("CIFAR-10-C.tar", "c72763e101c723b7c507b96205f7e938912a5d587376173b825850cf3cb876a7")

ENTRIES = (
    DIGITS, MNIST, FASHION_MNIST, KMNIST, *EMNIST, CIFAR10, CIFAR100, SVHN, STL10, TINY_IMAGENET, IMAGENETTE
)  # fmt: skip
CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}
