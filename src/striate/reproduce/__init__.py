"""Published experiments, each run by one command that ends in the paper's number beside ours."""

from striate.reproduce.experiment import Experiment, Line
from striate.reproduce.nielsen import NIELSEN
from striate.reproduce.small import ABLATION, CONVNETJS, DEGRADATION, LENET

__all__ = ["EXPERIMENTS", "Experiment", "Line"]

EXPERIMENTS: dict[str, Experiment] = {
    "nielsen": NIELSEN,
    "lenet5": LENET,
    "convnetjs": CONVNETJS,
    "degradation": DEGRADATION,
    "alexnet": ABLATION,
}
