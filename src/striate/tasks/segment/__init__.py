"""Segmentation: a class for every pixel."""

from striate.task import Task
from striate.tasks.segment.data import facts, move, targets
from striate.tasks.segment.head import HEADS, build
from striate.tasks.segment.loss import forward, loss
from striate.tasks.segment.metric import SegmentMetric, keep
from striate.tasks.segment.pictures import pictures
from striate.tasks.segment.predict import decode, prediction
from striate.tasks.segment.superpixels import refine
from striate.tasks.segment.tiles import tile

TASK = Task(
    name="segment",
    figure="miou",
    fit="pad",
    facts=facts,
    targets=targets,
    build=build,
    forward=forward,
    loss=loss,
    metric=SegmentMetric,
    decode=decode,
    prediction=prediction,
    pictures=pictures,
    move=move,
    heads=HEADS,
    net="resnet10-half",
    recipe="places",
    mirror=lambda logits: logits.flip(-1),
    keep=keep,
    refine=refine,
    tile=tile,
)
