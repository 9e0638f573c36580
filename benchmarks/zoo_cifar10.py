"""The six architectures of the zoo on CIFAR-10, one short training each: that they learn, and what they cost.

    python benchmarks/zoo_cifar10.py [--data cifar10] [--epochs 1] [--out runs/zoo] [NET ...]

Pictures of 32x32 are brought to the next size that a network's arithmetic takes (67x67 for AlexNet and ZF
Net's pools). Every network has the recipe `fast`, but for the peak rate below. Chance is 10 %.
"""

import argparse
from pathlib import Path

import striate as st

RATES = {"lenet5": 3e-3, "alexnet": 3e-4, "zfnet": 3e-4, "googlenet": 1e-3, "vgg11": 3e-4, "resnet18": 3e-3}
"""Networks with large fully connected layers and no batch norm need a smaller rate."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets", nargs="*", default=list(RATES))
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", default="runs/zoo")
    chosen = parser.parse_args()
    print("| network | input | parameters | epochs | accuracy | images/s | seconds |")
    print("|---|---|---|---|---|---|---|")
    for net in chosen.nets:
        changes = {"lr": RATES.get(net, 1e-3), "clip": 1.0}
        run = st.train(
            data=chosen.data, net=net, epochs=chosen.epochs, batch=128, changes=changes,
            out=Path(chosen.out) / net, resume=True,
        )  # fmt: skip
        side, count = run.prepare.input[1], sum(p.numel() for p in run.network.parameters())
        found = run.figures
        speed = f"{found['images_per_second']:.0f} | {found['seconds']:.0f}"
        print(
            f"| `{net}` | {side}×{side} | {count:,} | {found['epochs']} | {found['accuracy']:.4f} | {speed} |"
        )


if __name__ == "__main__":
    main()
