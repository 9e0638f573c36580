"""Detection: a box and a class for every thing in a picture."""

from striate.task import Task
from striate.tasks.detect.data import facts, move, targets
from striate.tasks.detect.head import HEADS, build
from striate.tasks.detect.loss import forward, loss
from striate.tasks.detect.metric import DetectMetric, results
from striate.tasks.detect.pictures import pictures
from striate.tasks.detect.predict import decode, keep, prediction

TASK = Task(
    name="detect",
    figure="map",
    fit="pad",
    facts=facts,
    targets=targets,
    build=build,
    forward=forward,
    loss=loss,
    metric=DetectMetric,
    decode=decode,
    prediction=prediction,
    pictures=pictures,
    move=move,
    heads=HEADS,
    net="resnet10-half",
    recipe="places",
    keep=keep,
    results=results,
)
