"""LeNet-5 on MNIST; ConvNetJS, degradation and the ingredients of AlexNet on CIFAR-10."""

from striate.reproduce.experiment import Experiment, Line
from striate.training.papers import PAPERS

LENET = Experiment(
    "LeNet-5 on MNIST",
    "LeCun, Bottou, Bengio, Haffner 1998, section III",
    "error",
    (
        Line(
            "LeNet-5, 20 passes, no distortions",
            0.95,
            "lenet5",
            "mnist",
            {"epochs": 20, "shift": 0},
            {"epochs": 5},
        ),
    ),
    scaled="5 epochs instead of 20",
    differs="AdamW with a cosine instead of stochastic diagonal Levenberg-Marquardt; cross-entropy over the "
    "distances, which is the paper's second loss but for a constant",
)

CONVNETJS = Experiment(
    "ConvNetJS's page on CIFAR-10",
    "Karpathy, ConvNetJS, 2014, demo/cifar10.html",
    "accuracy",
    (
        Line(
            "its own trainer: adadelta, batches of 4",
            None,
            "convnetjs-cifar10",
            "cifar10",
            {"epochs": 10},
            {"epochs": 3},
            recipe="paper",
        ),
        Line("the recipe fast", None, "convnetjs-cifar10", "cifar10", {"epochs": 30}, {"epochs": 10}),
    ),
    scaled="3 epochs of adadelta instead of 10, 10 of the recipe fast instead of 30",
    differs="the page gives no accuracy for the network it trains live; its pretrained one, about 80 %, is a "
    "figure of six augmented views a picture",
)

SHORT = {
    "epochs": 4,
    "lr": 0.2,
    "weight_decay": 5e-4,
    "schedule": "linear",
    "warmup": 0.15,
    "label_smoothing": 0.1,
    "small": 0.6,
}


def deep(name: str, net: str, published: float | None) -> Line:
    """A row of He et al., table 6 or figure 6."""
    return Line(name, published, net, "cifar10", {}, SHORT, recipe="paper")


DEGRADATION = Experiment(
    "Deeper is worse without shortcuts, better with them, on CIFAR-10",
    "He, Zhang, Ren, Sun 2015, section 4.2, figure 6 and table 6",
    "error",
    (
        deep("plain-20", "plain20", None),
        deep("plain-56", "plain56", None),
        deep("ResNet-20", "resnet20", 8.75),
        deep("ResNet-56", "resnet56", 6.97),
    ),
    scaled="4 epochs instead of 164: SGD at 0.2 down a line, label smoothing 0.1, growing pictures",
    differs="pictures are normalised by channel, not by pixel; all 50,000 pictures are trained on",
)


def four_layers(name: str, published: float | None, norm: str, pool: str, dropout: str) -> Line:
    """A row of a small AlexNet; both kinds of pool leave maps of the same size, 16x16 and 8x8."""
    stage = f"conv5-{{}} pad2, relu, {norm}{pool}, "
    net = f"{stage.format(32)}{stage.format(64)}fc512, relu, {dropout}softmax10"
    full = PAPERS["alexnet"].to_json() | {"shift": 0, "colour": 0.0}
    return Line(name, published, f"input 3x32x32, {net}", "cifar10", full, BRISK)


BRISK = {"epochs": 5, "lr": 0.02, "schedule": "linear", "warmup": 0.1}
LRN, OVERLAP, PLAIN, DROPOUT = "lrn5, ", "pool3 stride2 ceil", "pool2", "dropout0.5, "

ABLATION = Experiment(
    "What response normalisation, overlapping pools and dropout do, on CIFAR-10",
    "Krizhevsky, Sutskever, Hinton 2012, sections 3.3, 3.4 and 4.2",
    "error",
    (
        four_layers("all three", 11.0, LRN, OVERLAP, DROPOUT),
        four_layers("without response normalisation", 13.0, "", OVERLAP, DROPOUT),
        four_layers("without overlapping pools", None, LRN, PLAIN, DROPOUT),
        four_layers("without dropout", None, LRN, OVERLAP, ""),
    ),
    scaled="5 epochs instead of 90: the rate from 0.02 down a line",
    differs="section 3.3 has 11 and 13 % for a four-layer network that it does not describe: ours are two "
    "convolutions and two fully connected layers. Overlap is said to be worth 0.4 points and normalisation "
    "1.4 on ImageNet; dropout has no number, but doubles the passes that are needed",
)
