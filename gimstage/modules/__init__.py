"""Encoder modules: plain `nn.Module`s that know nothing of recipes, stages or each other."""

from gimstage.modules.base import CONTEXTS, EncoderModule, Outputs, multiply_adds
from gimstage.modules.composite import Composite, joined
from gimstage.modules.folded_alexnet import FoldedAlexNet
from gimstage.modules.identity import Identity
from gimstage.modules.maps import Conv2dModule, MapModule, MapReach, MaskedConv2dModule
from gimstage.modules.piecewise import Piecewise
from gimstage.modules.pixelcnn import PixelCNN, PixelCNNModule
from gimstage.modules.resnet import ResNetModule
from gimstage.modules.sequence import (
    Conv1dModule,
    ConvGRUModule,
    GRUModule,
    Reach,
    SequenceModule,
)
from gimstage.modules.vgg import VGGLayer

__all__ = [
    "CONTEXTS",
    "Composite",
    "Conv1dModule",
    "Conv2dModule",
    "ConvGRUModule",
    "EncoderModule",
    "FoldedAlexNet",
    "GRUModule",
    "Identity",
    "MapModule",
    "MapReach",
    "MaskedConv2dModule",
    "Outputs",
    "Piecewise",
    "PixelCNN",
    "PixelCNNModule",
    "Reach",
    "ResNetModule",
    "SequenceModule",
    "VGGLayer",
    "joined",
    "multiply_adds",
]
