"""The report on a folder of speech and its sheet of spectrograms."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

from gimstage.data.check_speech import check_speech, waveform_sheet
from gimstage.errors import DataError

SPLITS = {"train": ["3-1-0000", "3-1-0001", "7-1-0000"], "test": ["3-1-0002", "7-1-0001"]}
SAMPLES = {"3-1-0000": 32_000, "3-1-0001": 8_000, "7-1-0000": 16_159, "7-1-0001": 16_000}
NOISE, DARK = 0.5, 60  # amplitude; the brightest that a silent pixel may be


def write(root, id_, sound, rate_hz=16_000):
    speaker, chapter, _ = id_.split("-")
    path = root / speaker / chapter / f"{id_}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate_hz, format="FLAC", subtype="PCM_16")
    return path


def noise(count):
    return np.random.default_rng(0).uniform(-NOISE, NOISE, count)


@pytest.fixture
def root(tmp_path):
    """Five utterances of half a second to two seconds by two speakers; no phone labels."""
    root = tmp_path / "set"
    for split, ids in SPLITS.items():
        for id_ in ids:
            write(root, id_, noise(SAMPLES.get(id_, 24_000)))
        (root / f"{split}_split.txt").write_text("\n".join(ids))
    return root


@pytest.fixture
def phone_file(root):
    """Labels for one utterance of two seconds, 198 of them: silence, then phone 7."""
    path = root / "converted_aligned_phones.txt"
    path.write_text("3-1-0000" + " 0" * 100 + " 7" * 98 + "\n")
    return path


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_the_report_counts_speakers_and_utterances(root):
    report = check_speech(root, shortest_frames=1)
    train, test = report.splits
    assert (train.name, train.utterances, train.speakers) == ("train", 3, 2)
    assert (test.name, test.utterances, test.speakers) == ("test", 2, 2)
    assert (report.speakers, report.listed, report.unlisted) == (2, True, 0)


def test_the_report_measures_time(root):
    train = check_speech(root, shortest_frames=1).splits[0]
    assert train.minutes == pytest.approx((32_000 + 8_000 + 16_159) / 16_000 / 60)
    assert (train.shortest_s, train.longest_s) == (0.5, 2.0)


@pytest.mark.parametrize(
    ("frames", "ids"),
    [(50, ()), (51, ("3-1-0001",)), (100, ("3-1-0001",)), (101, ("3-1-0001", "7-1-0000"))],
)
def test_only_whole_frames_count_against_being_too_short(root, frames, ids):
    train = check_speech(root, shortest_frames=frames).splits[0]
    assert (train.too_short, train.too_short_first) == (len(ids), ids)


def test_of_many_too_short_ones_the_first_five_are_named(root):
    ids = [f"3-2-{number:04}" for number in range(8)]
    for id_ in ids:
        write(root, id_, noise(160))
    (root / "train_split.txt").write_text("\n".join(ids))
    train = check_speech(root, shortest_frames=2).splits[0]
    assert (train.too_short, train.too_short_first) == (8, tuple(ids[:5]))


def test_the_report_says_how_many_have_phone_labels(root, phone_file):
    train, test = check_speech(root, shortest_frames=1).splits
    assert (train.phone_labelled, train.label_coverage) == (1, 1 / 3)
    assert (test.phone_labelled, test.label_coverage) == (0, 0)


def test_the_report_counts_rates(root):
    write(root, "3-1-0001", noise(8_000), 8_000)
    train = check_speech(root, shortest_frames=1).splits[0]
    assert train.rates == {"8000": 1, "16000": 2}


def test_the_report_names_speakers_that_train_lacks(root):
    (root / "train_split.txt").write_text("3-1-0000\n")
    report = check_speech(root, shortest_frames=1)
    assert (report.unseen, report.unlisted) == (("7",), 2)


def test_the_report_is_json(root):
    report = json.loads(json.dumps(check_speech(root, shortest_frames=100).to_json()))
    assert (report["root"], report["shortest_frames"]) == (str(root), 100)
    assert report["splits"][0]["too_short_first"] == ["3-1-0001"]


def test_a_truncated_file_of_either_split_is_found(root):
    path = root / "7" / "1" / "7-1-0001.flac"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError) as info:
        check_speech(root, shortest_frames=1)
    assert str(info.value) == (
        f"{path}: its sound is cut short or damaged; expected every sample its header counts; "
        "restore the file from its source"
    )


def test_a_wrong_phone_label_is_found(root, phone_file):
    phone_file.write_text("7-1-0001 0 0\n")
    with pytest.raises(DataError) as info:
        check_speech(root, shortest_frames=1)
    assert str(info.value) == (
        f"{phone_file}, line 1: 2 labels for the 16,000 samples of '7-1-0001'; "
        "expected 98, one per 10 ms; restore the file from its source"
    )


def test_the_sheet_has_a_row_per_speaker(tmp_path, root):
    heights = []
    for rows in (1, 2, 3):
        waveform_sheet(root, tmp_path / "sheet.png", rows=rows)
        heights.append(len(pixels(tmp_path / "sheet.png")))
    assert heights[0] < heights[1] == heights[2]


def test_the_sheet_shows_when_there_is_sound(tmp_path, root):
    write(root, "3-1-0000", np.concatenate([np.zeros(16_000), noise(16_000)]))
    waveform_sheet(root, tmp_path / "sheet.png", rows=1)
    row = pixels(tmp_path / "sheet.png")[100]
    inside = np.flatnonzero(row.sum(1) != 3 * 255)  # from tick to frame, over the whole picture
    left, right = inside[-1] - 1320, inside[-1]
    assert row[left + 20 : left + 640].max() < DARK
    assert np.median(row[left + 680 : right - 20].max(1)) > 3 * DARK


def test_digital_silence_can_be_drawn(tmp_path, root):
    write(root, "3-1-0000", np.zeros(300))
    write(root, "7-1-0000", np.zeros(16_000))
    waveform_sheet(root, tmp_path / "sheet.png", rows=2)


def test_labelled_speakers_come_first_and_show_their_phones(tmp_path, root, phone_file):
    waveform_sheet(root, tmp_path / "without.png", rows=1)
    phone_file.write_text("7-1-0000" + " 0" * 50 + " 7" * 49 + "\n")
    waveform_sheet(root, tmp_path / "with.png", rows=1)
    strip = pixels(tmp_path / "with.png")[-50]
    assert (strip.max(1) - strip.min(1) > 50).sum() == pytest.approx(1320 / 2, abs=30)


def test_a_sheet_that_cannot_be_written_is_a_refusal(tmp_path, root):
    with pytest.raises(DataError) as info:
        waveform_sheet(root, tmp_path / "nowhere" / "sheet.png", rows=1)
    assert str(info.value) == (
        f"{tmp_path / 'nowhere' / 'sheet.png'}: it cannot be written (No such file or directory); "
        "choose another place"
    )


def test_importing_loads_neither_matplotlib_nor_torch():
    code = (
        "import sys, gimstage.data.check_speech\n"
        "print(sorted({'matplotlib', 'torch', 'torchaudio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_files_are_counted_by_folder_and_reason(root):
    (root / "other/9/1").mkdir(parents=True)
    (root / "3/1/3-1-0000.flac").rename(root / "3/1/3-1-0000.FLAC")
    (root / "other/9/1/9-1-0000.wav").write_bytes(b"RIFF")
    write(root / "other", "9-1-0001", noise(8_000))
    report = check_speech(root, shortest_frames=1)
    assert (report.taken, report.left) == (
        {".": 5, "other": 1},
        {"other": {".wav, not .flac": 1}},
    )
    assert report.notes == (
        "taken: 5 of ., 1 of other; `subsets` in data.toml chooses among these folders",
        "left in other: 1 .wav, not .flac",
    )


def test_silent_utterances_are_counted(root):
    write(root, "3-1-0000", np.zeros(8_000))
    assert [split.silent for split in check_speech(root, shortest_frames=1).splits] == [1, 0]


def test_phone_labels_of_nearly_the_right_name_are_noted(root, phone_file):
    like = phone_file.rename(root / "converted_aligned_phone.txt")
    assert check_speech(root, shortest_frames=1).notes == (
        f"no converted_aligned_phones.txt, but {like}: phone labels under that name are not read",
    )
