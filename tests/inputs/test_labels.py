"""Labels on their way to a loss: whose they are, and what is refused before a step is taken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.homes import open_pipeline
from helpers.recipes import PER_IMAGE, PER_PHONE, lay_out, split_off, together

from gimstage.draws import generator
from gimstage.errors import DataError, NoLabelsError
from gimstage.inputs import Sound
from gimstage.specs.own_sound import SoundDataSpec
from gimstage.views import LiveSpans, Spans
from gimstage.work.pipeline import Pipeline

PER_SPEAKER = PER_IMAGE | {"num_classes": 3}


def pipeline(home: Path, recipe: str, objective: dict[str, Any], **data: Any) -> Pipeline:
    folder = lay_out(home, recipe, together(recipe, "end_to_end", objective=objective))
    split_off(folder, **data)
    return open_pipeline(folder, home / "runs")


def test_an_image_brings_its_own_label(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny", PER_IMAGE, train_split="train")
    draws = pipe.data.draws(pipe.recipe.chain(1))
    where = draws(3)
    known = np.fromfile(pipe.data.root / "train_y.bin", np.uint8)[where.sample] - 1
    assert draws.labels(where).tolist() == known.tolist()
    window = pipe.data.stored.draw(generator(1, "test"), where.sample)
    assert draws.labels(window).tolist() == known.tolist()


def test_an_utterance_brings_its_speaker(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny_audio", PER_SPEAKER)
    draws = pipe.data.draws(pipe.recipe.chain(1))
    where = draws(0)
    spoken = [pipe.data.train.utterances[pipe.data.kept[i]].speaker for i in where.entry]
    found = [pipe.data.train.speakers[i] for i in draws.labels(where).tolist()]
    assert found == spoken


def test_a_frame_brings_the_phone_that_a_probe_would_give_it(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny_audio", PER_PHONE)
    draws = pipe.data.draws(pipe.recipe.chain(1))
    where = LiveSpans(np.array([2, 0]), np.array([5, 0]) * 160, 128 * 160)
    phones = [pipe.data.train.phones()[int(pipe.data.kept[i])] for i in (2, 0)]
    found = draws.labels(where).numpy()
    assert np.array_equal(found[0], phones[0][4:132])
    # Frame 0 is before the first label, and is given it.
    assert np.array_equal(found[1], np.concatenate([phones[1][:1], phones[1][:127]]))


def test_the_last_frames_are_given_the_last_phone(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny_audio", PER_PHONE | {"offset": 0})
    draws = pipe.data.draws(pipe.recipe.chain(1))
    frames = int(pipe.data.stored.frames[1])
    where = LiveSpans(np.array([1]), np.array([frames - 128]) * 160, 128 * 160)
    phones = pipe.data.train.phones()[int(pipe.data.kept[1])]
    missing = frames - len(phones)
    assert missing > 0
    expected = np.concatenate([phones[frames - 128 :], np.full(missing, phones[-1])])
    assert np.array_equal(draws.labels(where).numpy()[0], expected)


def test_stored_crops_bring_the_phones_of_where_they_were_cut(tmp_path: Path) -> None:
    crops = {"kind": "crops", "count": 2, "seed": 3}
    pipe = pipeline(tmp_path, "tiny_audio", PER_PHONE, stored_views=crops)
    chain = pipe.recipe.chain(1)
    stored = pipe.data.stored
    found = pipe.data._labels_in_time(chain, stored, np.array([3]), np.array([0]))
    phones = pipe.data.train.phones()[int(pipe.data.kept[1])]
    first = int(stored.start[3]) - 1
    assert np.array_equal(found[0].numpy(), phones[np.arange(first, first + 128).clip(0)])


def test_only_utterances_with_phones_are_learned_from(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny_audio", PER_PHONE)
    path = pipe.data.train.phone_file
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1::2]))
    labelled = {line.split()[0] for line in path.read_text().splitlines()}
    samples = pipe.data.samples(pipe.recipe.chain(1)).trained
    ids = {pipe.data.train.utterances[pipe.data.kept[i]].id for i in samples}
    assert ids == labelled & {each.id for each in pipe.data.train.utterances}
    assert 4 <= len(ids) < pipe.data.num_samples


def test_new_phones_make_what_learned_from_them_stale(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny_audio", PER_PHONE)
    pipe.train_stage(1)
    path = pipe.data.train.phone_file
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0][:-1] + ("1" if lines[0][-1] != "1" else "2"), *lines[1:]]))
    (status,) = open_pipeline(tmp_path / "all", tmp_path / "runs").statuses()
    assert status.state == "stale"
    assert status.why[0].startswith("phones_sha256: ")


def refused(pipe: Pipeline, kind: type[DataError]) -> str:
    with pytest.raises(kind) as error:
        pipe.train_stage(1)
    assert not (pipe.root / "all/1/checkpoint").exists()
    return str(error.value).replace(str(pipe.data.root), "DATA")


def test_supervised_learning_on_unlabelled_images_is_refused(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny", PER_IMAGE)
    assert refused(pipe, NoLabelsError) == (
        "DATA: the split 'unlabeled' has no labels; expected a labelled split; choose train or test"
    )


def test_classes_the_recipe_does_not_count_are_refused(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny", PER_IMAGE | {"num_classes": 4}, train_split="train")
    first = next(label for label in pipe.data.labels if label > 3)
    assert refused(pipe, DataError) == (
        f"DATA, split 'train': label {first}; expected 0 to 3, the num_classes of stage all/1; "
        "raise num_classes in its [objective]"
    )


def test_phones_without_alignments_are_refused(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny_audio", PER_PHONE)
    pipe.data.train.phone_file.unlink()
    pipe = open_pipeline(tmp_path / "all", tmp_path / "runs")
    assert refused(pipe, NoLabelsError) == (
        "DATA: no utterance of the split 'train' has phone labels; expected a line for at least "
        "one of them in converted_aligned_phones.txt; add the file, or the lines that are missing"
    )


def test_windows_of_stored_rows_bring_speakers_too(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, "tiny_audio", PER_SPEAKER)
    draws = pipe.data.draws(pipe.recipe.chain(1))
    where = Spans(np.array([4, 1]), np.array([0, 0]), 128)
    known = pipe.data.train.labels[pipe.data.kept[[4, 1]]]
    assert draws.labels(where).tolist() == known.tolist()


def test_frames_of_ones_own_sound_bring_the_nearest_label_where_they_have_none(
    tmp_path: Path,
) -> None:
    for name, rows in (("a", 8_000), ("b", 8_000)):
        (tmp_path / "own/train").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"own/train/{name}.wav", np.full(rows, 0.1), 8_000)
    rows = "train/a.wav,0.1,0.2,x\ntrain/a.wav,0.4,0.5,y\n"
    (tmp_path / "own/intervals.csv").write_text(f"path,start,end,word\n{rows}")
    spec = {
        "source": "sound",
        "train_split": "train",
        "rate_hz": 8_000,
        "channels": 1,
        "mean": 0.0,
        "std": 0.1,
        "label": "word",
        "views": {"crop_frames": 32},
        "stored_views": {"kind": "utterances"},
    }
    data = Sound.find(SoundDataSpec.model_validate(spec), tmp_path / "own", tmp_path / "runs")
    assert {index: own.tolist() for index, own in data.frame_labels.items()} == {
        0: [0] * 30 + [1] * 70  # x ends with frame 19 and y begins with frame 40
    }
    assert data.labels is None  # of whole files
