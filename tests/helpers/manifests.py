"""Small runs that the tests of the report write by hand; nothing of them is trained."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gimstage.cache import ArrayLayout, FeatureWriter, SmallLayout, StoreLayout
from gimstage.runs.manifest import with_digest

PAPER = {"learning_rate": 1e-3, "batch_size": 8, "epochs": 2, "views": 1}
CONVERGED = {"views": 1, "l2": [0.01], "validation_share": 0.2}
IMAGES = {
    "source": "demo_images",
    "train_split": "unlabeled",
    "channels": "gray",
    "mean": [0.412],
    "std": [0.257],
    "views": {"crop_px": 56, "flip": True, "patch_px": 16, "stride_px": 8},
    "stored_views": {"kind": "grid", "patches": 8, "count": 1, "seed": 2},
}
SPEECH = {
    "source": "demo_speech",
    "train_split": "train",
    "mean": 0.0,
    "std": 0.063,
    "views": {"crop_frames": 128},
    "stored_views": {"kind": "utterances", "count": None, "seed": None},
}
INFONCE = {"kind": "infonce", "num_negatives": 16}
# What the tables of modules and losses have besides what a test says of them.
REST: dict[str, dict[str, Any]] = {
    "resnet": {"block": "bottleneck", "width": 4, "blocks": 1, "stride": 1},
    "pixelcnn": {"layers": 1},
    "conv1d": {"channels": 8, "kernel": 4, "stride": 2, "padding": 1},
    "gru": {"channels": 8, "bptt": False},
    "infonce": {
        "prediction_steps": 2,
        "prediction_gap": 1,
        "negative_source": "targets",
        "exclude_positive": False,
        "projection": "target",
        "probability_floor": 0.0,
    },
    "supervised": {"per": "sample"},
    "deep_infomax": {"hidden_channels": 4, "loss": "jsd"},
    "predsim": {"num_classes": 10, "similarity_share": 0.99, "head_inputs": 16},
}
TRAIN_REST = {"learning_rate": 1e-3, "precision": "float32"}
OUTPUT = {"encoding": "float32", "relu": True}
BESIDE = ["weights.safetensors", "objective.safetensors", "metrics.jsonl", "memory.json"]
DIMS = ("sample", "view", "row", "column", "channel", "y", "x")
UNLABELED, TRAIN, TEST = "e" * 64, "a" * 64, "b" * 64


def rewrite(path: Path, **changes: Any) -> None:
    """Change entries of a manifest, which vouches for itself as before."""
    path.write_text(json.dumps(with_digest(json.loads(path.read_text()) | changes)))


def write_stage(
    runs: Path,
    key: str,
    *,
    lines: list[dict[str, Any]] | None = None,
    data: dict[str, Any] = IMAGES,
    data_sha256: str = UNLABELED,
    kind: str = "resnet",
    own: dict[str, Any] | None = None,
    below: tuple[dict[str, Any], ...] | None = None,
    steps: int = 20,
    seed: int = 2,
    **changes: Any,
) -> Path:
    """A finished stage `RECIPE/NUMBER`; its folder.

    Its TOML is `own`, else one module of a kind; the stages below are `below`, else like it.
    """
    number = int(key.rpartition("/")[2])
    train = {"steps": steps, "batch_size": 8, "seed": seed}
    own = {"module": {"kind": kind}, "objective": INFONCE} if own is None else own
    tables = (*((own,) * (number - 1) if below is None else below), own)
    chain = [whole_stage(table | {"train": TRAIN_REST | train}) for table in tables]
    identity = {"algorithms": {"views": 1}, "data": data, "data_sha256": data_sha256}
    manifest = {
        "format": 1,
        "stage": key,
        "fingerprint": "f" * 64,
        "identity": identity | {f"stage {i}": stage for i, stage in enumerate(chain, start=1)},
        "weights_sha256": weights(key),
        "objective_sha256": "0" * 64,
        "upstream": None,
        "upstream_weights_sha256": None,
        "training": {"steps": steps, "seconds": 2.5, "first": None, "last": None},
        "features": stored_features([48, 1, 8, 8, 8, 4, 4], 1_000_000 * number),
        "memory": None,
        "device": "cpu, 1 threads",
    }
    folder = _write(runs / key, manifest | changes)
    lines = curve(steps) if lines is None else lines
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def whole_stage(own: dict[str, Any]) -> dict[str, Any]:
    """The TOML of a stage with the rest of its tables; what is no table stays as it is."""
    rest = {"update_every": 1} if own.get("mode") == "isolated" else {}
    modules = own.get("modules") if isinstance(own.get("modules"), list) else []
    losses = all(isinstance(each, dict) and "objective" in each for each in modules)
    stage = {"views": None, "output": OUTPUT} | own
    if "objective" not in own and not (modules and losses):
        stage["objective"] = INFONCE
    for key in {"module", "objective"} & stage.keys():
        stage[key] = whole_table(stage[key])
    return stage | ({"modules": [whole_table(each, rest) for each in modules]} if modules else {})


def whole_table(table: Any, rest: Any = ()) -> Any:
    """A table of a module or a loss with the rest of its keys."""
    if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
        return table
    whole = {**REST.get(table["kind"], {}), **dict(rest), **table}
    return whole | ({"objective": whole_table(table["objective"])} if "objective" in table else {})


def stored_features(shape: list[int], nbytes: int, shards: Any = ()) -> dict[str, Any]:
    """What a manifest says of features that are stored."""
    lossless = {"snr_db": None, "worst_channel_snr_db": None, "max_error": 0.0, "clipped": 0.0}
    return {
        "arrays": ["features"],
        "shape": shape,
        "encoding": "float32",
        "bytes": nbytes,
        "seconds": 0.5,
        "fidelity": lossless,
        "shards": list(shards),
    }


def weights(key: str) -> str:
    """The made-up SHA-256 of a stage's weights."""
    return key.encode().hex().ljust(64, "0")[-64:]


def curve(steps: int, *, start: float = 2.83, end: float = 2.5) -> list[dict[str, Any]]:
    """Lines of a loss that falls evenly."""
    return [
        {"step": step, "loss": start + (end - start) * step / steps, "seconds": 0.1 * step}
        for step in range(1, steps + 1)
    ]


def several(mode: str, *modules: str | dict[str, Any], objective: Any = INFONCE) -> dict[str, Any]:
    """The TOML of a stage of several modules, each a kind or all that is said of it."""
    listed = [{"kind": module} if isinstance(module, str) else module for module in modules]
    shared = {"objective": objective} if objective else {}
    return {"views": None, "mode": mode, "modules": listed, **shared}


def curves(steps: int, *starts: float, validated: int = 0) -> list[dict[str, Any]]:
    """Lines of an isolated stage whose losses fall by 0.3 from where they start.

    Every `validated`-th line has validation losses, 0.1 above; 0 for none.
    """
    lines = []
    for step in range(1, steps + 1):
        losses = [start - 0.3 * step / steps for start in starts]
        modules = [{"loss": loss, "accuracy": 0.2, "loss_per_step": [loss]} for loss in losses]
        if validated and step % validated == 0:
            modules = [m | {"validation_loss": m["loss"] + 0.1} for m in modules]
        line = {"step": step, "loss": sum(losses), "accuracy": 0.2, "loss_per_step": []}
        lines.append(line | {"modules": modules})
    return lines


def write_probe(
    runs: Path,
    key: str,
    accuracies: dict[str, float],
    *,
    task: str = "class",
    protocols: tuple[str, ...] = ("paper", "converged"),
    seed: int = 2,
    epochs: int = 2,
    data: dict[str, Any] = IMAGES,
    data_sha256: dict[str, str] | None = None,
    fitted: dict[str, str] | None = None,
) -> Path:
    """A finished probe `RECIPE/PROBE` of accuracies by input; its folder."""
    settings = {"paper": PAPER | {"epochs": epochs}, "converged": CONVERGED}
    rows = [
        {
            "stage": stage,
            "task": task,
            "protocol": protocol,
            "accuracy": accuracy,
            "chance": 0.1,
            "random_init": None if stage in ("pixels", "mfcc") else accuracy / 2,
            "train_samples": 40,
            "test_samples": 80,
            "settings": settings.get(protocol, {}) | {"seed": seed},
        }
        for protocol in protocols
        for stage, accuracy in accuracies.items()
    ]
    identity = {
        "algorithms": {"probe": 1},
        "probe": {"task": task, **{p: settings.get(p, {}) | {"seed": seed} for p in protocols}},
        "data": {name: value for name, value in data.items() if name != "stored_views"},
        "data_sha256": data_sha256 or {"train": TRAIN, "test": TEST},
        "weights": fitted or {},
    }
    if "own" in protocols:
        identity["classifiers"] = {f"{key.partition('/')[0]}/1": f"{seed:064x}"}
    manifest = {"format": 1, "probe": key, "fingerprint": "f" * 64, "identity": identity}
    return _write(runs / key, manifest | {"rows": rows})


def write_images(runs: Path, recipe: str, accuracy: float, *, seed: int = 2, **same: Any) -> None:
    """Three finished stages and their probe, the last as accurate as that."""
    for number in (1, 2, 3):
        write_stage(runs, f"{recipe}/{number}", seed=seed, **same)
    inputs = {"1": accuracy - 0.2, "2": accuracy - 0.1, "3": accuracy, "pixels": 0.25}
    write_probe(runs, f"{recipe}/probe", inputs, seed=seed)


def write_speech(runs: Path, recipe: str, accuracy: float, *, seed: int = 2) -> None:
    """Six finished stages and both probes, the last input as accurate as that."""
    kinds = ["conv1d"] * 5 + ["gru"]
    for number, kind in enumerate(kinds, start=1):
        write_stage(runs, f"{recipe}/{number}", seed=seed, kind=kind, data=SPEECH)
    inputs = {str(n): accuracy - 0.05 * (6 - n) for n in range(1, 7)} | {"mfcc": 0.4}
    for task in ("phone", "speaker"):
        write_probe(runs, f"{recipe}/probe_{task}", inputs, task=task, seed=seed, data=SPEECH)


def write_store(
    path: Path, arrays: dict[str, Tensor], *, small: Any = None, **attributes: Any
) -> list[dict[str, Any]]:
    """A store of whole arrays, shards of 4 samples or 20 rows; what its manifest says of it."""
    images = arrays["features"].dim() > 2
    layout = StoreLayout(
        arrays=tuple(
            ArrayLayout(
                name=name,
                shape=tuple(values.shape),
                dims=DIMS[: values.dim()] if images else ("frame", "channel"),
                encoding="float32",
                chunk=(1, 1, *values.shape[2:]) if images else (10, values.shape[1]),
                shard_rows=4 if images else 20,
            )
            for name, values in arrays.items()
        ),
        small=tuple(
            SmallLayout(name=name, shape=v.shape, dtype=v.dtype, dims=("entry",))
            for name, v in (small or {}).items()
        ),
        attributes=attributes,
    )
    writer = FeatureWriter(path, layout, small=small or {})
    for number in writer.missing_shards():
        with writer.shard(number) as shard:
            rows = layout.arrays[0].rows(number)
            shard.append({n: v[rows.start : rows.stop].float().numpy() for n, v in arrays.items()})
    return writer.finish()


def random(*shape: int) -> Tensor:
    """The same normal values every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def _write(folder: Path, manifest: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
