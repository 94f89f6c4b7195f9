"""Encoder modules: plain `nn.Module`s that know nothing of recipes, stages or each other."""

from gimstage.modules.base import EncoderModule
from gimstage.modules.resnet import ResNetModule
from gimstage.modules.sequence import (
    Conv1dModule,
    ConvGRUModule,
    GRUModule,
    Reach,
    SequenceModule,
)

__all__ = [
    "Conv1dModule",
    "ConvGRUModule",
    "EncoderModule",
    "GRUModule",
    "Reach",
    "ResNetModule",
    "SequenceModule",
]
