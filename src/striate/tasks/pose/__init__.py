"""Human pose: where the joints of a person are."""

from striate.task import Task
from striate.tasks.pose.data import around, facts, move, samples, targets
from striate.tasks.pose.head import HEADS, build
from striate.tasks.pose.loss import forward, loss
from striate.tasks.pose.metric import PoseMetric, keep, results
from striate.tasks.pose.pictures import pictures
from striate.tasks.pose.predict import decode, join, prediction

TASK = Task(
    name="pose",
    figure="pck",
    fit="pad",
    samples=samples,
    part=around,
    join=join,
    facts=facts,
    targets=targets,
    build=build,
    forward=forward,
    loss=loss,
    metric=PoseMetric,
    decode=decode,
    prediction=prediction,
    pictures=pictures,
    move=move,
    heads=HEADS,
    net="resnet10-half",
    recipe="places",
    smooths=False,
    keep=keep,
    results=results,
)
