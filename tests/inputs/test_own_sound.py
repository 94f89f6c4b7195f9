"""A folder of sound of one's own: planned, imported once, cut from in place, refused by reason."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.homes import CPU, RECIPES
from helpers.recipes import toml
from helpers.sounds import tone

from gimstage.errors import DataError, NoLabelsError, RecipeError
from gimstage.inputs import Sound
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.specs.own_sound import SoundDataSpec
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

KEYS: dict[str, Any] = {
    "source": "sound",
    "train_split": "train",
    "rate_hz": 8_000,
    "channels": 1,
    "mean": 0.0,
    "std": 0.1,
    "views": {"crop_frames": 32},
    "stored_views": {"kind": "utterances"},
}


def write(folder: Path, **lengths: int) -> Path:
    """A folder of noise at 8 kHz, a file a name, "train__a" as train/a.wav."""
    for seed, (name, length) in enumerate(lengths.items()):
        path = folder / f"{name.replace('__', '/')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(-9_000, 9_000, length, np.int16)
        soundfile.write(path, noise, 8_000, subtype="PCM_16")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three files to train on and one to test."""
    return write(tmp_path / "own", train__a=8_000, train__b=12_345, train__c=9_000, test__d=8_001)


def sound(folder: Path, **changes: Any) -> Sound:
    spec = SoundDataSpec.model_validate(KEYS | changes)
    return Sound.find(spec, folder, folder.parent / "runs")


def imported(folder: Path, **changes: Any) -> Sound:
    data = sound(folder, **changes)
    data.make(Watch())
    return data


def read(data: Sound, split: str, index: int) -> Any:
    wave = np.empty((data.split(split).samples[index], data.spec.channels), np.float32)
    data.split(split).read(index, 0, wave)
    return wave


def test_what_is_planned_is_what_is_imported(own: Path) -> None:
    planned = sound(own)
    before = [(planned.split(name).ids, planned.split(name).samples) for name in ("train", "test")]
    assert not (own.parent / "runs").exists()
    data = imported(own)
    for name, (ids, samples) in zip(("train", "test"), before, strict=True):
        assert data.split(name).ids == ids
        assert data.split(name).samples.tolist() == samples.tolist()


def test_samples_are_those_of_the_files(own: Path) -> None:
    data = imported(own)
    for index, id_ in enumerate(data.train.ids):
        stored, _ = soundfile.read(own / id_, dtype="float32", always_2d=True)
        assert (read(data, "train", index) == stored).all()
    assert data.layout.dtype == "int16"


def test_what_was_planned_is_forgotten_when_it_is_imported(own: Path) -> None:
    data = sound(own)
    with pytest.raises(DataError) as caught:
        read(data, "train", 0)
    assert str(caught.value) == (
        f"{own}, split 'train': the sound is not imported yet; any command that trains or probes "
        "imports it"
    )
    data.make(Watch())
    assert np.ptp(read(data, "train", 0)) > 0


def test_more_than_16_bits_are_kept_where_a_file_holds_them(own: Path) -> None:
    wave = np.random.default_rng(2).standard_normal((3_000, 1)).astype(np.float32)
    soundfile.write(own / "train/z.wav", wave, 8_000, subtype="FLOAT")
    data = imported(own)
    assert data.layout.dtype == "float32"
    assert (read(data, "train", 3) == wave).all()


def test_files_of_many_kinds_rates_and_channels_become_one(own: Path) -> None:
    loud = np.stack([tone(44_100, 44_100, 300), 0.5 * tone(44_100, 44_100, 300)], 1)
    soundfile.write(own / "train/z.flac", loud, 44_100)
    wave = read(imported(own), "train", 3)
    assert len(wave) == 8_000
    assert np.abs(wave[:, 0] - 0.75 * tone(8_000, 8_000, 300))[100:-100].max() < 1e-3


def test_silence_is_told(own: Path) -> None:
    soundfile.write(own / "train/z.wav", np.zeros(8_000, np.float32), 8_000)
    notes = imported(own).notes()
    assert notes == [
        "4 train, 1 test: told by the folders",
        "split 'train': 1 of 4 files looked at are silent",
    ]


def spoil(folder: Path) -> None:
    path = folder / "train/b.wav"
    path.write_bytes(path.read_bytes()[:9_000])
    (folder / "train/e.mp3").write_bytes(b"")


def test_bad_files_are_refused_by_name_and_reason(own: Path) -> None:
    spoil(own)
    with pytest.raises(DataError) as caught:
        imported(own)
    assert str(caught.value) == (
        f"{own}: 2 of 5 files cannot be read: 1 × cut short or damaged (train/b.wav), 1 × empty "
        '(train/e.mp3); expected files that are whole; write on_bad = "skip" into data.toml to '
        "leave them out, or remove them"
    )
    assert not (own.parent / "runs").exists()


def test_bad_files_are_left_out_where_the_recipe_says_so(own: Path) -> None:
    spoil(own)
    data = imported(own, on_bad="skip")
    assert data.train.ids == ("train/a.wav", "train/c.wav")
    stored, _ = soundfile.read(own / "train/c.wav", dtype="float32", always_2d=True)
    assert (read(data, "train", 1) == stored).all()
    assert data.notes()[1:] == [
        "left out: 1 × cut short or damaged (train/b.wav)",
        "left out: 1 × empty (train/e.mp3)",
    ]


def test_what_turns_out_bad_in_the_middle_is_not_heard(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gimstage.data.soundfiles.BLOCK_VALUES", 1_000)
    monkeypatch.setattr("gimstage.inputs.own_sound.AHEAD_VALUES", 2_000)
    wave = np.zeros(5_000, np.float32)
    wave[4_000] = np.nan
    soundfile.write(own / "train/b.wav", wave, 8_000, subtype="FLOAT")
    data = imported(own, on_bad="skip")
    assert data.store.rows == 8_001 + 8_000 + 4_000 + 9_000
    assert data.bad == {"train/b.wav": "with samples that are infinite or no numbers"}
    stored, _ = soundfile.read(own / "train/c.wav", dtype="float32", always_2d=True)
    assert (read(data, "train", 1) == stored).all()


def test_a_folder_in_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/a.wav").write_bytes(b"no sound at all")
    with pytest.raises(DataError) as caught:
        _ = sound(tmp_path / "own", on_bad="skip").train
    assert str(caught.value) == (
        f"{tmp_path}/own: 1 of 1 files cannot be read: 1 × no sound that libsndfile knows (a.wav); "
        "expected files that are whole; see whether data.toml asks for what they are, or give "
        "other files: --data DIR"
    )


def test_files_that_are_too_short_are_counted_and_the_first_of_them_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = {f"train__{number:02}": 100 for number in range(12)}
    data = sound(write(tmp_path / "own", **short, train__long=8_000, test__z=8_000))
    assert data.num_samples == 1
    named = ", ".join(f"train/{number:02}.wav" for number in range(10))
    assert caplog.messages == [
        "split 'train': 12 of 13 sequences are shorter than a crop of 32 frames and are left "
        f"out: {named} and 2 more"
    ]


def test_labels_come_from_a_pattern_and_a_table(own: Path) -> None:
    (own / "labels.csv").write_text(
        "path,split,mood\ntrain/a.wav,train,glad\ntrain/b.wav,train,sad\ntrain/c.wav,test,sad\n"
    )
    data = imported(own, pattern="{set}/{take}.wav", label="mood")
    assert data.train.ids == ("train/a.wav", "train/b.wav")
    assert list(data.train.columns) == ["set", "take", "mood"]
    assert data.train.column("take").classes == ("a", "b", "c")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1]


def test_stretches_of_time_are_labels_of_frames(own: Path) -> None:
    (own / "intervals.csv").write_text(
        "path,start,end,call\ntrain/a.wav,0,0.5,whistle\ntrain/a.wav,0.5,1,click\n"
    )
    labels = imported(own).train.frame_labels("call")
    assert labels.classes == ("click", "whistle")
    assert {key: own.tolist() for key, own in labels.values.items()} == {0: [1] * 50 + [0] * 50}


def test_labels_of_frames_that_a_split_lacks_are_refused(own: Path) -> None:
    (own / "intervals.csv").write_text("path,start,end,call\ntrain/a.wav,0,0.5,whistle\n")
    with pytest.raises(NoLabelsError) as caught:
        imported(own).split("test").frame_labels("call")
    assert str(caught.value) == (
        f"{own}, split 'test': no file has labels 'call' of stretches; expected one at least; "
        "label some, or choose another split"
    )


def test_a_sound_that_is_moved_to_another_split_is_other_data(own: Path, tmp_path: Path) -> None:
    before = imported(own).fingerprint("train", tmp_path / "runs")
    shutil.move(own / "test/d.wav", own / "train/d.wav")
    write(own, test__e=8_000)
    assert imported(own).fingerprint("train", tmp_path / "runs") != before


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe of two convolutions on a folder of sound."""

    def lay_out(**changes: Any) -> Path:
        folder = tmp_path / "mine"
        folder.mkdir()
        for path in sorted((RECIPES / "tiny_audio").glob("[12]_*.toml")):
            shutil.copy(path, folder)
        (folder / "data.toml").write_text(toml(KEYS | changes))
        return folder

    return lay_out


def test_a_recipe_is_trained_on_a_folder_of_sound(
    tmp_path: Path, recipe: Callable[..., Path]
) -> None:
    data = write(tmp_path / "own", **{f"train__{n}": 6_000 for n in range(6)}, test__z=6_000)
    settings = Settings(device=CPU, workers=2, max_disk=None, checkpoint_every_s=1e9)
    pipeline = Pipeline.find(
        Recipe.load(recipe()), data, tmp_path / "runs", settings=settings, watch=Watch()
    )
    pipeline.run()
    assert (tmp_path / "runs/mine/2/manifest.json").exists()


@pytest.mark.parametrize(
    ("rate_hz", "told"),
    [
        (0, "rate_hz: 0; expected greater than 0"),
        (22_050, "rate_hz: 22050; expected a multiple of 100, as a frame is 10 ms; such as 22000"),
    ],
)
def test_a_rate_without_whole_frames_is_refused(
    recipe: Callable[..., Path], rate_hz: int, told: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(recipe(rate_hz=rate_hz))
    assert told in str(caught.value)
