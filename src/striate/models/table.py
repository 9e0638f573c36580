"""Every network by name: a plain table. The numbers are the papers', or recomputed where none is printed."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from striate import design
from striate.design import NAMED
from striate.models import alexnet, farabet, fast, googlenet, lenet, resnet, vgg, zfnet
from striate.models.designed import Designed

Size = tuple[int, int]
"""Height and width."""
Builder = Callable[[int, int, Size], nn.Module]
"""(classes, channels, size) -> a backbone (see `models.backbone`)."""


@dataclass(frozen=True)
class Model:
    """A line of the table: how to build a network, and what the paper built it for."""

    build: Builder
    year: int
    paper: str
    channels: int
    """Of the pictures it was made for."""
    size: int
    """Height and width of the pictures it was made for."""
    parameters: int
    """With ten classes; LeNet-5's without the fixed codes."""
    multiply_adds: int
    """For one picture: of convolutions and matrix products."""
    fixed_size: bool = False
    """Whether pictures of other sizes are brought to this one before it sees them."""
    classes: int = 10
    """That the paper told apart; `parameters` and `multiply_adds` are for as many."""
    least: int = 1
    """The smallest side of square pictures it takes, where it takes more than one."""
    every: int = 1
    """Pixels from one side that it takes to the next."""
    judged: str = ""
    """What `error` was measured on."""
    error: float | None = None
    """In per cent, one network, as its paper says; see docs/models.md for how each was measured."""


def _any_size(build: Callable[[int, int], nn.Module]) -> Builder:
    """A builder for a network whose layers do not depend on the pictures' size."""
    return lambda classes, channels, size: build(classes, channels)


def _named(name: str) -> Builder:
    """A builder for one of the named designs; the paper's channels give way to those asked for."""
    return lambda classes, channels, size: Designed(design.parse(NAMED[name]), classes, (channels, *size))


LECUN, KRIZHEVSKY, ZEILER = "LeCun et al.", "Krizhevsky et al.", "Zeiler & Fergus"
SZEGEDY, SIMONYAN, HE = "Szegedy et al.", "Simonyan & Zisserman", "He et al."
KARPATHY, NIELSEN, JORDAN, FARABET = "Karpathy", "Nielsen", "Jordan", "Farabet et al."


def _imagenet(
    build: Builder,
    year: int,
    paper: str,
    parameters: int,
    multiply_adds: int,
    error: float | None = None,
    size: int = 224,
    least: int = 32,
    every: int = 1,
) -> Model:
    """A network for ImageNet's thousand classes; `error` is in its five best guesses."""
    told, judged = 1000, "ImageNet, top 5" if error else ""
    counts = parameters, multiply_adds
    return Model(build, year, paper, 3, size, *counts, False, told, least, every, judged, error)


def _cifar(build: Callable[[int, int], nn.Module], parameters: int, macs: int, error: float | None) -> Model:
    """One of He's networks for CIFAR-10."""
    judged = "CIFAR-10" if error else ""
    return Model(_any_size(build), 2015, HE, 3, 32, parameters, macs, judged=judged, error=error)


def _mnist(name: str, parameters: int, multiply_adds: int, error: float) -> Model:
    """One of the networks of Nielsen's book."""
    counts = parameters, multiply_adds
    return Model(_named(name), 2015, NIELSEN, 1, 28, *counts, True, judged="MNIST", error=error)


# name: how it is built, year, paper, (channels, size,) parameters, multiply-adds, (error in per cent)
MODELS: dict[str, Model] = {
    "lenet5": Model(
        _any_size(lenet.lenet5), 1998, LECUN, 1, 32, 60_000, 416_520, True, judged="MNIST", error=0.95
    ),
    "lenet5-modern": Model(_any_size(lenet.lenet5_modern), 1998, LECUN, 1, 32, 61_706, 416_520, True),
    "alexnet": _imagenet(alexnet.alexnet, 2012, KRIZHEVSKY, 60_965_224, 724_406_816, 18.2, 227, 67, 32),
    "alexnet-single": _imagenet(
        alexnet.alexnet_single, 2012, KRIZHEVSKY, 62_378_344, 1_135_256_096, None, 227, 67, 32
    ),
    "alexnet-owt": _imagenet(
        alexnet.alexnet_owt, 2014, "Krizhevsky", 61_100_840, 714_188_480, 20.93, 224, 63
    ),
    "zfnet": _imagenet(zfnet.zfnet, 2013, ZEILER, 62_357_608, 1_168_032_896, 16.5, 224, 53),
    "zfnet-wide": _imagenet(zfnet.zfnet_wide, 2013, ZEILER, 107_627_624, 2_476_704_896, 16.0, 224, 53),
    "convnetjs-mnist": Model(_named("convnetjs-mnist"), 2014, KARPATHY, 1, 24, 5_994, 578_560, True),
    "fast-mnist": Model(_named("fast-mnist"), 2026, "ours", 1, 28, 65_218, 427_008, True),
    "convnetjs-cifar10": Model(_named("convnetjs-cifar10"), 2014, KARPATHY, 3, 32, 22_466, 3_920_000, True),
    "googlenet": _imagenet(_any_size(googlenet.googlenet), 2014, SZEGEDY, 13_378_280, 1_582_671_872, 10.07),
    "googlenet-bn": _imagenet(
        _any_size(googlenet.googlenet_bn), 2014, SZEGEDY, 13_004_888, 1_498_376_192, 10.47
    ),
    "vgg11": _imagenet(vgg.vgg11, 2014, SIMONYAN, 132_863_336, 7_609_090_048, 10.4),
    "vgg11-lrn": _imagenet(vgg.vgg11_lrn, 2014, SIMONYAN, 132_863_336, 7_609_090_048, 10.5),
    "vgg13": _imagenet(vgg.vgg13, 2014, SIMONYAN, 133_047_848, 11_308_466_176, 9.9),
    "vgg16-c": _imagenet(vgg.vgg16_c, 2014, SIMONYAN, 133_638_952, 11_770_888_192, 8.8),
    "vgg16": _imagenet(vgg.vgg16, 2014, SIMONYAN, 138_357_544, 15_470_264_320, 8.1),
    "vgg19": _imagenet(vgg.vgg19, 2014, SIMONYAN, 143_667_240, 19_632_062_464, 8.0),
    "vgg11-bn": _imagenet(vgg.vgg11_bn, 2014, SIMONYAN, 132_868_840, 7_609_090_048),
    "vgg13-bn": _imagenet(vgg.vgg13_bn, 2014, SIMONYAN, 133_053_736, 11_308_466_176),
    "vgg16-bn": _imagenet(vgg.vgg16_bn, 2014, SIMONYAN, 138_365_992, 15_470_264_320),
    "vgg19-bn": _imagenet(vgg.vgg19_bn, 2014, SIMONYAN, 143_678_248, 19_632_062_464),
    "resnet10-half": Model(_any_size(resnet.resnet10_half), 2026, "ours", 3, 96, 1_232_810, 46_230_016),
    "resnet18": _imagenet(_any_size(resnet.resnet18), 2015, HE, 11_689_512, 1_814_073_344),
    "resnet34": _imagenet(_any_size(resnet.resnet34), 2015, HE, 21_797_672, 3_663_761_408),
    "resnet50": _imagenet(_any_size(resnet.resnet50), 2015, HE, 25_557_032, 4_089_184_256),
    "resnet50-v1": _imagenet(_any_size(resnet.resnet50_v1), 2015, HE, 25_557_032, 3_857_973_248, 7.8),
    "resnet101": _imagenet(_any_size(resnet.resnet101), 2015, HE, 44_549_160, 7_801_405_440),
    "resnet101-v1": _imagenet(_any_size(resnet.resnet101_v1), 2015, HE, 44_549_160, 7_570_194_432, 7.1),
    "resnet152": _imagenet(_any_size(resnet.resnet152), 2015, HE, 60_192_808, 11_513_626_624),
    "resnet152-v1": _imagenet(_any_size(resnet.resnet152_v1), 2015, HE, 60_192_808, 11_282_415_616, 6.7),
    "plain18": _imagenet(_any_size(resnet.plain18), 2015, HE, 11_515_688, 1_794_805_760),
    "plain34": _imagenet(_any_size(resnet.plain34), 2015, HE, 21_623_848, 3_644_493_824),
    "resnet20": _cifar(resnet.resnet20, 269_722, 40_551_040, 8.75),
    "resnet32": _cifar(resnet.resnet32, 464_154, 68_862_592, 7.51),
    "resnet44": _cifar(resnet.resnet44, 658_586, 97_174_144, 7.17),
    "resnet56": _cifar(resnet.resnet56, 853_018, 125_485_696, 6.97),
    "resnet110": _cifar(resnet.resnet110, 1_727_962, 252_887_680, 6.43),
    "resnet1202": _cifar(resnet.resnet1202, 19_421_274, 2_829_238_912, 7.93),
    "plain20": _cifar(resnet.plain20, 269_722, 40_551_040, None),
    "plain32": _cifar(resnet.plain32, 464_154, 68_862_592, None),
    "plain44": _cifar(resnet.plain44, 658_586, 97_174_144, None),
    "plain56": _cifar(resnet.plain56, 853_018, 125_485_696, None),
    "plain110": _cifar(resnet.plain110, 1_727_962, 252_887_680, None),
    "farabet": Model(_any_size(farabet.farabet), 2012, FARABET, 3, 46, 430_480, 125_967_448, least=4),
    "fast": Model(
        _any_size(fast.fast), 2024, JORDAN, 3, 32, 1_972_792, 118_147_360, False, 10, 9, 1, "CIFAR-10", 6.0
    ),
    "fast-narrow": Model(_any_size(fast.fast_narrow), 2026, "ours", 3, 32, 1_089_720, 44_274_208, least=9),
    "nielsen-shallow": _mnist("nielsen-shallow", 79_510, 79_400, 2.20),
    "nielsen-conv1": _mnist("nielsen-conv1", 289_630, 577_000, 1.22),
    "nielsen-conv2": _mnist("nielsen-conv2", 85_670, 1_633_000, 0.94),
    "nielsen-conv2-relu": _mnist("nielsen-conv2-relu", 85_670, 1_633_000, 0.77),
    "nielsen-conv2-fc2": _mnist("nielsen-conv2-fc2", 95_770, 1_643_000, 0.57),
    "nielsen-dropout": _mnist("nielsen-dropout", 1_672_570, 3_218_000, 0.40),
}
