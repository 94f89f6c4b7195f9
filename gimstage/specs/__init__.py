"""What may stand in a recipe's TOML files: one frozen model per table, no key without a meaning.

    data.toml     Stl10Spec, SpeechDataSpec and others, by its `source`
    N_name.toml   StageSpec
    probe*.toml   the spec of its `task`, see specs/probe.py

Every number that changes a result is a required key, so a TOML file shows all of them; unknown keys
are refused. A spec builds its part with plain keyword arguments, and no part ever sees a spec.
"""

from gimstage.specs.base import Shape, Spec
from gimstage.specs.data import (
    DATA_SPECS,
    DataSpec,
    ImageDataSpec,
    SequenceDataSpec,
    SpeechDataSpec,
    Stl10Spec,
    ValidationSpec,
)
from gimstage.specs.demo_large import DemoLargeSpec
from gimstage.specs.encoders import EncoderTable
from gimstage.specs.image_arrays import ImageArraySpec
from gimstage.specs.objectives import ObjectiveTable
from gimstage.specs.outside import Reading
from gimstage.specs.own_images import OwnImagesSpec
from gimstage.specs.probe import (
    PROBE_SPECS,
    ClassProbeSpec,
    ConvergedProtocol,
    CropProbeSpec,
    FrameConverged,
    FramePaper,
    FrameProbeSpec,
    HiddenProtocol,
    LabelProbeSpec,
    MFCCSpec,
    PaperProtocol,
    PhoneProbeSpec,
    ProbeSpec,
    SpeakerProbeSpec,
    TimeProbeSpec,
)
from gimstage.specs.series import DemoSeriesSpec, SeriesDataSpec, SeriesSpec
from gimstage.specs.stage import OutputSpec, StageSpec, TrainSpec

__all__ = [
    "DATA_SPECS",
    "DemoLargeSpec",
    "PROBE_SPECS",
    "ClassProbeSpec",
    "ConvergedProtocol",
    "CropProbeSpec",
    "DataSpec",
    "DemoSeriesSpec",
    "EncoderTable",
    "FrameConverged",
    "FramePaper",
    "FrameProbeSpec",
    "HiddenProtocol",
    "ImageArraySpec",
    "ImageDataSpec",
    "LabelProbeSpec",
    "MFCCSpec",
    "ObjectiveTable",
    "OutputSpec",
    "OwnImagesSpec",
    "PaperProtocol",
    "PhoneProbeSpec",
    "ProbeSpec",
    "Reading",
    "Shape",
    "SpeakerProbeSpec",
    "Spec",
    "SequenceDataSpec",
    "SeriesDataSpec",
    "SeriesSpec",
    "SpeechDataSpec",
    "StageSpec",
    "Stl10Spec",
    "TimeProbeSpec",
    "TrainSpec",
    "ValidationSpec",
]
