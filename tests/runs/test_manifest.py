"""The commit record: what is written is what is read, and nothing malformed gets in."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import rewrite, stored_features, write_probe, write_stage
from pydantic import ValidationError

from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError
from gimstage.recipe.recipe import Recipe
from gimstage.runs.folder import RunFolder
from gimstage.runs.manifest import Manifest, ProbeManifest

STAGE_KEYS = [
    *("format", "stage", "fingerprint", "identity", "weights_sha256", "objective_sha256"),
    *("upstream", "upstream_weights_sha256", "files", "training", "features", "memory", "device"),
    *("data_title", "versions", "sha256"),
]


TRAINED = {"steps": 1, "seconds": 1.0, "first": None, "last": None}
FILE = {"path": "metrics.jsonl", "bytes": 1, "sha256": "0" * 64}
AT_LEAST_0 = "greater than or equal to 0"
A_DIGEST = "String should match pattern '^[0-9a-f]{64}$'"
A_NAME = "'weights.safetensors', 'objective.safetensors', 'metrics.jsonl' or 'memory.json'"


def stage(runs: Path, **changes: Any) -> RunFolder:
    """A folder with a stage's manifest, some of its entries changed."""
    return RunFolder(write_stage(runs, "small/1", **changes))


def refusal(folder: RunFolder) -> str:
    """What is said of a manifest that cannot be read as a stage's, without place and cure."""
    with pytest.raises(DamagedCacheError) as caught:
        folder.manifest()
    path = folder.manifest_path
    message = str(caught.value)
    verb = "train-stage 1" if path.parent.name == "1" else "probe probe"
    again = f"gimstage {verb} --recipe stages/small --runs {path.parents[2]}"
    before, after = f"{path}: not readable: ", f"; run `{again}`"
    assert message.startswith(before)
    assert message.endswith(after)
    return message.removeprefix(before).removesuffix(after)


def test_a_folder_without_a_manifest_has_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert (folder.manifest(), folder.probe_manifest(), folder.record()) == (None, None, None)


def test_a_manifest_is_read_back_as_it_was_committed(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    manifest = folder.manifest()
    assert manifest is not None
    folder.commit(manifest)
    assert folder.manifest() == manifest


def test_a_manifest_is_written_whole_in_one_order_of_keys(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    manifest = folder.manifest()
    assert manifest is not None
    folder.commit(manifest)
    written = json.loads(folder.manifest_path.read_text())
    assert list(written) == STAGE_KEYS
    assert list(written["training"]) == ["samples", "steps", "seconds", "first", "last"]


def test_a_record_is_of_a_stage_or_of_a_probe(tmp_path: Path) -> None:
    assert isinstance(stage(tmp_path).record(), Manifest)
    probe = RunFolder(write_probe(tmp_path, "small/probe", {"1": 0.5}))
    assert isinstance(probe.record(), ProbeManifest)


def test_the_rows_of_a_probe_have_names(tmp_path: Path) -> None:
    folder = RunFolder(write_probe(tmp_path, "small/probe", {"1": 0.5}, protocols=("paper",)))
    manifest = folder.probe_manifest()
    assert manifest is not None
    assert [(row.stage, row.protocol, row.accuracy) for row in manifest.rows] == [
        ("1", "paper", 0.5)
    ]


def test_a_manifest_cannot_be_changed(tmp_path: Path) -> None:
    manifest = stage(tmp_path).manifest()
    assert manifest is not None
    with pytest.raises(ValidationError, match="Instance is frozen"):
        manifest.stage = "other/1"  # type: ignore[misc]


def test_what_an_older_release_did_not_write_is_unknown(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    written = json.loads(folder.manifest_path.read_text())
    for key in ("memory", "device"):
        del written[key]
    folder.manifest_path.write_text(json.dumps(written | {"peak_memory_bytes": None}))
    manifest = folder.manifest()
    assert manifest is not None
    assert (manifest.memory, manifest.device, manifest.versions) == (None, None, {})
    assert manifest.training.samples is None


def test_a_manifest_of_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    rewrite(folder.manifest_path, format=3)
    with pytest.raises(CacheError) as caught:
        folder.manifest()
    path = folder.manifest_path
    assert str(caught.value) == f"{path}: format 3; expected at most 2; upgrade gimstage"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "{",
            "no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("[" * 100_000, "nested too deep"),
        ('{"format": 1, "stage": NaN}', "NaN is no number"),
        ("[]", "no format number inside"),
        ("{}", "no format number inside"),
        ('{"format": "1"}', "no format number inside"),
        ('{"format": true}', "no format number inside"),
        ('{"format": -1}', "no format number inside"),
        ('{"format": 1.0}', "no format number inside"),
        ('{"format": 2}', "its content is not what its own sha256 says"),
        ('{"format": 3}', "its content is not what its own sha256 says"),
        ('{"format": 1, "sha256": "0"}', "its content is not what its own sha256 says"),
    ],
)
def test_what_is_no_manifest_at_all_is_not_readable(tmp_path: Path, text: str, reason: str) -> None:
    folder = stage(tmp_path)
    folder.manifest_path.write_text(text)
    assert refusal(folder) == reason


def test_all_keys_that_lack_are_named(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    folder.manifest_path.write_text('{"format": 1, "stage": "small/1"}')
    assert refusal(folder) == (
        "no features, fingerprint, identity, objective_sha256, training, upstream, "
        "upstream_weights_sha256, weights_sha256 inside"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"training": None}, "training is null instead of a table"),
        ({"training": {"steps": 1}}, "no training.seconds inside"),
        ({"weights_sha256": 7}, "weights_sha256 is 7 instead of a valid string"),
        ({"features": [1]}, "features is [1] instead of a table"),
        ({"identity": "none"}, 'identity is "none" instead of a table'),
        ({"identity": {}}, "identity: no data inside"),
        ({"identity": {"data": {}, "data_sha256": 7}}, "identity: no data_sha256 inside"),
        ({"device": ["x" * 50]}, f'device is ["{"x" * 37}… instead of a valid string'),
        ({"training": TRAINED | {"steps": -1}}, f"training.steps is -1 instead of {AT_LEAST_0}"),
        ({"training": TRAINED | {"last": {}}}, "training.last: no loss inside"),
        ({"training": TRAINED | {"first": {"loss": "1"}}}, "training.first: no loss inside"),
        ({"files": {}}, "files is {} instead of a list"),
        ({"files": [FILE | {"sha256": "x"}]}, f'files.0.sha256 is "x" instead of {A_DIGEST}'),
        ({"files": [FILE | {"bytes": True}]}, "files.0.bytes is true instead of a valid integer"),
        ({"files": [FILE | {"path": "../x"}]}, f'files.0.path is "../x" instead of {A_NAME}'),
        (
            {"files": [FILE | {"path": "weights.safetensors"}]},
            "files: weights.safetensors has another digest than weights_sha256",
        ),
    ],
)
def test_what_has_another_type_is_named_and_shown(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert refusal(stage(tmp_path, **changes)) == reason


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "../zarr.json", "/etc/zarr.json", "features/../../zarr.json", "a/b/c.0"),
        *("features/", "/c.0", "features/zarr.json.part", "features/c/0", "manifest.json"),
    ],
)
def test_nothing_outside_a_store_is_a_file_of_it(tmp_path: Path, path: str) -> None:
    shards = [{"path": path, "bytes": 1, "crc32c": "0" * 8}]
    reason = refusal(stage(tmp_path, features=stored_features([1], 1, shards)))
    assert reason.startswith(f'features.shards.0.path is "{path}" instead of String should match')


def test_every_flipped_bit_of_a_manifest_is_found_or_without_effect(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    manifest = folder.manifest()
    assert manifest is not None
    folder.commit(manifest)
    content = folder.manifest_path.read_bytes()
    kept = 0
    for bit in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        folder.manifest_path.write_bytes(flipped)
        try:
            assert folder.manifest() == manifest
            kept += 1
        except DamagedCacheError:
            pass
    assert kept < len(content) / 50  # white space


def test_a_digit_of_an_accuracy_cannot_change_unseen(tmp_path: Path) -> None:
    folder = RunFolder(write_probe(tmp_path, "small/probe", {"1": 0.15}))
    rewrite(folder.manifest_path, format=2)
    text = folder.manifest_path.read_text()
    folder.manifest_path.write_text(text.replace("0.15", "0.55"))
    path = folder.manifest_path
    with pytest.raises(DamagedCacheError) as caught:
        folder.probe_manifest()
    assert str(caught.value) == (
        f"{path}: not readable: its content is not what its own sha256 says; "
        f"run `gimstage probe probe --recipe stages/small --runs {tmp_path}`"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"accuracy": 1.5}, "rows.0.accuracy is 1.5 instead of less than or equal to 1"),
        ({"accuracy": 10**400}, "rows.0.accuracy is"),
        ({"chance": -0.1}, f"rows.0.chance is -0.1 instead of {AT_LEAST_0}"),
        ({"test_samples": True}, "rows.0.test_samples is true instead of a valid integer"),
        ({"stage": None}, "rows.0.stage is null instead of a valid string"),
    ],
)
def test_a_row_of_a_probe_that_cannot_be_is_named(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    folder = RunFolder(write_probe(tmp_path, "small/probe", {"1": 0.5}))
    rows = json.loads(folder.manifest_path.read_text())["rows"]
    rewrite(folder.manifest_path, rows=[rows[0] | changes])
    with pytest.raises(DamagedCacheError) as caught:
        folder.probe_manifest()
    assert str(caught.value).startswith(f"{folder.manifest_path}: not readable: {reason}")


def test_a_probe_is_no_stage(tmp_path: Path) -> None:
    folder = RunFolder(write_probe(tmp_path, "small/probe", {"1": 0.5}))
    assert refusal(folder) == (
        "no features, objective_sha256, stage, training, upstream, upstream_weights_sha256, "
        "weights_sha256 inside"
    )


def test_a_manifest_leads_to_its_chain(tmp_path: Path) -> None:
    recipe = Recipe.load(Path(__file__).parents[1] / "recipes/tiny")
    identity = recipe.chain(2).features_identity("0" * 64)
    manifest = RunFolder(write_stage(tmp_path, "tiny@3/2", identity=identity)).manifest()
    assert manifest is not None
    assert manifest.chain().last.key == "tiny@3/2"
    assert manifest.chain().shapes() == recipe.chain(2).shapes()


@pytest.mark.parametrize(
    ("table", "key", "value", "reason"),
    [
        ("train", "warmup", 10, "stage 1.train.warmup is 10, which is no key here"),
        ("module", "kind", "resnext", 'stage 1.module.kind is "resnext"'),
        ("module", "width", "2", 'stage 1.module.width is "2" instead of a valid integer'),
    ],
)
def test_a_manifest_of_another_release_names_the_key_that_is_not_known(
    tmp_path: Path, table: str, key: str, value: Any, reason: str
) -> None:
    identity = (
        Recipe.load(Path(__file__).parents[1] / "recipes/tiny").chain(1).features_identity("0" * 64)
    )
    identity["stage 1"][table][key] = value
    manifest = RunFolder(write_stage(tmp_path, "tiny/1", identity=identity)).manifest()
    assert manifest is not None
    with pytest.raises(StaleCacheError) as caught:
        manifest.chain()
    assert str(caught.value) == (
        "stage tiny/1: trained by another release, whose recipes this one cannot read: "
        f"{reason}; use that release, or run `gimstage train-stage 1 --recipe stages/tiny`"
    )
