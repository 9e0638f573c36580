"""Nielsen, "Neural Networks and Deep Learning" (2015), chapter 6: ten networks on MNIST and a vote of five.

Full length is the book's: 60 epochs (40 with dropout) of batches of 10 at a constant rate, no momentum.
"""

from typing import Any

from striate.reproduce.experiment import Experiment, Line
from striate.training.papers import PAPERS

SHAPE = "input 1x28x28, conv5-20, pool2, relu, conv5-40, pool2, relu, {}, softmax10"
BOOK = PAPERS["nielsen"].to_json() | {"patience": 60}
"""Nothing stops before the end; what is judged is the epoch of the best validation figure, as in the book."""
SIGMOID = {"lr": 0.1, "weight_decay": 0.0}
QUICK: dict[str, Any] = {
    "epochs": 8,
    "batch": 64,
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 0.02,
    "schedule": "cosine",
    "warmup": 0.1,
    "patience": 0,
    "head_lr": 1.0,
    "init": "own",
    "standardise": True,
}
PLAIN = QUICK | {"optimizer": "sgd", "batch": 32, "lr": 1.0, "weight_decay": 6e-5}
"""For the shallow networks of sigmoids, which AdamW teaches their pictures by heart: the book's plain descent
at ten times the rate, with batches three times as large and a decay that the book gives to later rows."""
WIDE = QUICK | {"epochs": 2, "batch": 128}
"""An epoch of the expanded set is five of the plain one."""


def fc(*widths: int) -> str:
    """The book's two-convolution network with these fully connected layers."""
    return SHAPE.format(", ".join(f"fc{width}, relu" for width in widths))


def book(
    name: str,
    published: float,
    net: str,
    changes: dict[str, Any] | None = None,
    quick: dict[str, Any] = QUICK,
) -> Line:
    """A row trained on the 50,000 pictures."""
    return Line(name, published, net, "mnist-50k", BOOK | (changes or {}), quick)


def expanded(
    name: str, published: float, net: str, changes: dict[str, Any] | None = None, seeds: int = 1
) -> Line:
    """A row trained on the 250,000 pictures; the decay is lambda over 25,000 batches."""
    changes = BOOK | {"weight_decay": 4e-6} | (changes or {})
    return Line(name, published, net, "mnist-expanded", changes, WIDE, seeds=seeds)


DROPOUT: dict[str, Any] = {"epochs": 40, "weight_decay": 0.0, "head_lr": 0.25}
"""The book halves weights at test time, where PyTorch doubles inputs in training. PyTorch's weights are thus
half the book's and have twice its gradients: a quarter of its rate takes them the same way."""

NIELSEN = Experiment(
    "Nielsen's chapter 6 on MNIST",
    "Nielsen, Neural Networks and Deep Learning, 2015, chapter 6",
    "accuracy",
    (
        book("FC 100, sigmoid", 97.80, "nielsen-shallow", SIGMOID, PLAIN | {"epochs": 20}),
        book("conv 20, FC 100, sigmoid", 98.78, "nielsen-conv1", SIGMOID, PLAIN | {"epochs": 10}),
        book("conv 20, conv 40, FC 100, sigmoid", 99.06, "nielsen-conv2", SIGMOID),
        book("the same, ReLU", 99.23, "nielsen-conv2-relu"),
        expanded("+ expanded data", 99.37, "nielsen-conv2-relu"),
        expanded("FC 300", 99.46, fc(300)),
        expanded("FC 1000", 99.43, fc(1000)),
        expanded("FC 100, FC 100", 99.43, "nielsen-conv2-fc2"),
        expanded("FC 300, FC 300", 99.48, fc(300, 300)),
        expanded("FC 1000, FC 1000", 99.47, fc(1000, 1000)),
        expanded("FC 1000, FC 1000, dropout", 99.60, "nielsen-dropout", DROPOUT),
        expanded("vote of five such", 99.67, "nielsen-dropout", DROPOUT, seeds=5),
    ),
    scaled="AdamW at 2e-3 with a cosine, batches of 64 (128 on the expanded set), 8 epochs of the 50,000 "
    "pictures or 2 of the 250,000, one seed but for the vote; the first two rows: plain descent at 1 with a "
    "cosine and decay of 6e-5, batches of 32, 20 and 10 epochs; the last epoch is judged",
    differs="pictures are shuffled anew every epoch, and biases behind dropout move at a quarter of the rate",
)
