"""What may stand in a recipe's TOML files: one frozen model per table, no key without a meaning.

    data.toml     ImageDataSpec or SpeechDataSpec, by its `source`
    N_name.toml   StageSpec
    probe*.toml   ClassProbeSpec, SpeakerProbeSpec or PhoneProbeSpec, by its `task`

Every number that changes a result is a required key, so a TOML file shows all of them; unknown keys
are refused. A spec builds its part with plain keyword arguments, and no part ever sees a spec.
"""

from gimstage.specs.base import Shape, Spec
from gimstage.specs.data import (
    DATA_SPECS,
    DataSpec,
    ImageDataSpec,
    SpeechDataSpec,
    ValidationSpec,
)
from gimstage.specs.parts import InfoNCESpec, ModuleSpec, ObjectiveSpec, SupervisedSpec
from gimstage.specs.probe import (
    PROBE_SPECS,
    ClassProbeSpec,
    ConvergedProtocol,
    FrameConverged,
    FramePaper,
    HiddenProtocol,
    MFCCSpec,
    PaperProtocol,
    PhoneProbeSpec,
    ProbeSpec,
    SpeakerProbeSpec,
)
from gimstage.specs.stage import OutputSpec, StageSpec, TrainSpec

__all__ = [
    "DATA_SPECS",
    "PROBE_SPECS",
    "ClassProbeSpec",
    "ConvergedProtocol",
    "DataSpec",
    "FrameConverged",
    "FramePaper",
    "HiddenProtocol",
    "ImageDataSpec",
    "InfoNCESpec",
    "MFCCSpec",
    "ModuleSpec",
    "ObjectiveSpec",
    "OutputSpec",
    "PaperProtocol",
    "PhoneProbeSpec",
    "ProbeSpec",
    "Shape",
    "SpeakerProbeSpec",
    "Spec",
    "SpeechDataSpec",
    "StageSpec",
    "SupervisedSpec",
    "TrainSpec",
    "ValidationSpec",
]
