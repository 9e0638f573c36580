"""Both pose heads beside the mean pose, which looks at no picture: what there is to learn from a small set.

    python benchmarks/pose.py [--data lsp] [--epochs 60] [--size 128] [--out runs/pose]

The mean pose puts each joint at its mean place over the training people, in the square that a person is cut
out with. The set must have a split for training and one to judge by.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import striate as st
from striate.data.prepare import Fit
from striate.data.source import Source
from striate.tasks.pose.data import facts, targets
from striate.tasks.pose.metric import PoseMetric

COLUMNS = ("pck", "pck_at_0.2", "pckh", "pdj", "pcp", "oks_map", "error")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="lsp")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", default="runs/pose")
    parser.add_argument("heads", nargs="*", default=["heatmap", "deeppose"])
    chosen = parser.parse_args()
    print("| | " + " | ".join(COLUMNS) + " | seconds |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    rows = []
    for head in chosen.heads:
        run = st.train(
            "pose", data=chosen.data, head=head, epochs=chosen.epochs, size=chosen.size,
            changes={"evaluate": 20, "ema": 0.99}, out=Path(chosen.out) / head, resume=True,
        )  # fmt: skip
        if not rows:
            rows.append(("mean pose", mean_pose(run.source(), run.figures["split"])))
        rows.append((head, run.evaluate() | {"seconds": run.figures["seconds"]}))
    for name, found in rows:
        cells = [f"{found[key]:.3f}" if found.get(key) is not None else "–" for key in COLUMNS]
        print(f"| {name} | " + " | ".join(cells) + f" | {found.get('seconds', 0):.0f} |")
    limbs = list(rows[0][1]["limbs"])
    print("\n| PCP | " + " | ".join(name for name, _ in rows) + " |\n" + "|---" * (len(rows) + 1) + "|")
    for limb in limbs:
        print(f"| {limb} | " + " | ".join(f"{found['limbs'][limb]:.3f}" for _, found in rows) + " |")


def mean_pose(source: Source, split: str) -> dict:
    """The figures on `split` of the mean over `train`, in shares of the squares' sides."""
    side, joints = {}, {}
    for name in ("train", split):
        images = source.splits[name].images
        side[name] = np.array([one.box[2] - one.box[0] for one in images], dtype=np.float64)  # ty: ignore
        joints[name] = source.splits[name].targets["keypoints"]
    known = joints["train"][..., 2:] > 0
    places = joints["train"][..., :2] / side["train"][:, None, None]
    mean = (places * known).sum(0) / known.sum(0)
    n = len(side[split])
    fit = Fit(np.ones((n, 2)), np.zeros((n, 2)), np.zeros((n, 2), dtype=int))
    said = np.concatenate([mean * side[split][:, None, None], np.ones((n, len(mean), 1))], axis=2)
    metric = PoseMetric(facts(source))
    metric.update(torch.from_numpy(said[:, None]).float(), targets(source.splits[split].targets, fit))
    return metric.compute()


if __name__ == "__main__":
    main()
