"""Classification: one label for a whole picture."""

from striate.task import Task
from striate.tasks.classify.data import facts, targets
from striate.tasks.classify.head import build
from striate.tasks.classify.loss import forward, loss
from striate.tasks.classify.metric import ClassifyMetric
from striate.tasks.classify.pictures import pictures
from striate.tasks.classify.predict import decode, prediction
from striate.tasks.classify.views import look, vote

TASK = Task(
    name="classify",
    figure="accuracy",
    fit="crop",
    facts=facts,
    targets=targets,
    build=build,
    forward=forward,
    loss=loss,
    metric=ClassifyMetric,
    decode=decode,
    prediction=prediction,
    pictures=pictures,
    look=look,
    vote=vote,
    whole=True,
    mirror=lambda logits: logits,
)
