"""Every recipe of the paper on both bases, written by hand; Greedy InfoMax and CPC twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.manifests import (
    IMAGES,
    INFONCE,
    SPEECH,
    curve,
    curves,
    several,
    write_probe,
    write_stage,
)

CLASSES = {"kind": "supervised", "num_classes": 10}
PHONES, SPEAKERS = CLASSES | {"num_classes": 41}, CLASSES | {"num_classes": 251}
DEEP, PREDSIM = {"kind": "deep_infomax"}, {"kind": "predsim"}
PIXELCNN = {"kind": "pixelcnn"}
NETS = ("resnet",) * 3
AUDIO = ("conv1d",) * 5 + ("gru",)
LABELLED = {"data": IMAGES | {"train_split": "train"}, "data_sha256": "d" * 64}
COLOUR = {
    "data": IMAGES
    | {"channels": "rgb", "mean": [0.4] * 3, "std": [0.2] * 3}
    | {"views": {"crop_px": 64, "flip": True, "patch_px": 16, "stride_px": 8}}
}
SEEDS = {"": 2, "@3": 3}
GIB = 2**30


def write_everything(runs: Path) -> None:
    """All of `small`, of images, and all of `audio`, of speech."""
    _images(runs)
    _speech(runs)


def _images(runs: Path) -> None:
    for suffix, seed in SEEDS.items():
        more = 0.01 * (seed - 2)
        _iterative(runs, f"small{suffix}", NETS, seed=seed, data=IMAGES)
        _class(runs, f"small{suffix}", _rising(3, 0.72 + more) | {"pixels": 0.3}, seed=seed)
        _whole(runs, f"small_cpc{suffix}", several("end_to_end", *NETS), seed=seed)
        _class(runs, f"small_cpc{suffix}", _rising(3, 0.7 + more, stage=1), seed=seed)
    _whole(runs, "small_simultaneous", several("isolated", *NETS))
    _class(runs, "small_simultaneous", _rising(3, 0.73, stage=1))
    for name, mode in {"supervised": "end_to_end", "greedy_supervised": "isolated"}.items():
        _whole(runs, f"small_{name}", several(mode, *NETS, objective=CLASSES), **LABELLED)
        _class(runs, f"small_{name}", {"1.3": 0.64}, extra="own")
    for name in ("dim", "dim_jsd"):
        _whole(runs, f"small_{name}", several("end_to_end", *NETS, objective=DEEP), **COLOUR)
        _class(runs, f"small_{name}", {"1.3": 0.66}, extra="hidden")
    own = several("isolated", *NETS, objective=PREDSIM)
    _whole(runs, "small_predsim", own, **LABELLED)
    _class(runs, "small_predsim", {"1.3": 0.7}, extra="own")
    net = {"module": {"kind": "resnet"}, "objective": INFONCE}
    _whole(runs, "small_pixelcnn", {"module": PIXELCNN, "objective": INFONCE}, below=(net,) * 3)
    _class(runs, "small_pixelcnn", {"1": 0.69})
    _class(runs, "small_random", {"small/3": 0.33})


def _speech(runs: Path) -> None:
    for suffix, seed in SEEDS.items():
        about: dict[str, Any] = {"seed": seed, "data": SPEECH}
        _iterative(runs, f"audio{suffix}", AUDIO, **about)
        _tasks(runs, f"audio{suffix}", _rising(6, 0.6 + 0.01 * (seed - 2)), seed=seed)
        _whole(runs, f"audio_cpc{suffix}", several("end_to_end", *AUDIO), **about)
        _tasks(runs, f"audio_cpc{suffix}", _rising(6, 0.62, stage=1), seed=seed)
    _whole(runs, "audio_simultaneous", several("isolated", *AUDIO), data=SPEECH)
    _tasks(runs, "audio_simultaneous", _rising(6, 0.61, stage=1))
    for name, mode in {"supervised": "end_to_end", "greedy_supervised": "isolated"}.items():
        for task, objective in {"phone": PHONES, "speaker": SPEAKERS}.items():
            own = several(mode, *AUDIO, objective=objective)
            _whole(runs, f"audio_{name}_{task}", own, data=SPEECH)
            inputs, protocols = {"1.6": 0.75}, ("paper", "converged", "own")
            key = f"audio_{name}_{task}/probe_{task}"
            write_probe(runs, key, inputs, task=task, protocols=protocols, data=SPEECH)
    conv = {"module": {"kind": "conv1d"}, "objective": INFONCE}
    gru = {"module": {"kind": "gru", "bptt": False}, "objective": INFONCE}
    _whole(runs, "audio_no_bptt", gru, below=(conv,) * 5, data=SPEECH)
    for name, at in {"no_bptt": "1", "no_gar": "audio/5", "random": "audio/6"}.items():
        _tasks(runs, f"audio_{name}", {at: 0.5})
    _tasks(runs, "audio_mfcc", {"mfcc": 0.4})


def _rising(count: int, end: float, *, stage: int | None = None) -> dict[str, float]:
    """Accuracies of stages, or of the modules of one stage, 5 points apart."""
    before = "" if stage is None else f"{stage}."
    return {f"{before}{n}": end - 0.05 * (count - n) for n in range(1, count + 1)}


def _iterative(runs: Path, recipe: str, kinds: Sequence[str], **about: Any) -> None:
    """A stage for each module, with validation at every fifth line."""
    for number, kind in enumerate(kinds, start=1):
        end = 2.6 - 0.05 * number + 0.02 * about["seed"]
        lines = curve(20, end=end)
        lines = [
            line | ({"validation_loss": line["loss"] + 0.05} if line["step"] % 5 == 0 else {})
            for line in lines
        ]
        whole = _told(number * GIB, None)
        write_stage(runs, f"{recipe}/{number}", kind=kind, lines=lines, **whole, **about)


def _whole(runs: Path, recipe: str, own: dict[str, Any], **about: Any) -> None:
    """A recipe of one stage, which stores nothing."""
    starts = [2.8 - 0.05 * at for at in range(len(own.get("modules", [])))]
    lines = curves(20, *starts, validated=5) if own.get("mode") == "isolated" else curve(20)
    told = _told(7 * GIB, 8 * GIB) | {"features": None}
    write_stage(runs, f"{recipe}/1", own=own, lines=lines, **told, **about)


def _told(predicted: int, measured: int | None) -> dict[str, Any]:
    memory = {"predicted_reserved_bytes": predicted, "measured_reserved_bytes": measured}
    return {"memory": memory, "training": {"steps": 20, "seconds": 2.5, "samples": 43}}


def _class(
    runs: Path, recipe: str, inputs: dict[str, float], *, seed: int = 2, extra: str = ""
) -> None:
    protocols = ("paper", "converged", extra)[: 3 if extra else 2]
    write_probe(runs, f"{recipe}/probe", inputs, protocols=protocols, seed=seed)


def _tasks(runs: Path, recipe: str, inputs: dict[str, float], *, seed: int = 2) -> None:
    for task in ("phone", "speaker"):
        key = f"{recipe}/probe_{task}"
        write_probe(runs, key, inputs, task=task, seed=seed, data=SPEECH)
