"""Encoder modules: plain `nn.Module`s that know nothing of recipes, stages or each other."""

from gimstage.modules.base import EncoderModule
from gimstage.modules.resnet import ResNetModule

__all__ = ["EncoderModule", "ResNetModule"]
