"""Images in STL-10's layout: reading, crops, normalisation, fingerprint, refusals."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.digests import fingerprint
from PIL import Image

from gimstage.data.pixels import normalise
from gimstage.data.stl10 import files, open_split
from gimstage.errors import DataError, NoLabelsError


def refusal(call, *args, **kwargs):
    with pytest.raises(DataError) as info:
        call(*args, **kwargs)
    return str(info.value)


def draw(rng, count, size_px, samples):
    edges = rng.integers(0, 97 - size_px, (2, count))
    return rng.integers(0, samples, count), edges[0], edges[1], rng.integers(0, 2, count) > 0


def test_the_bytes_of_a_plane_run_down_its_columns(tmp_path):
    stored = np.zeros(27_648, np.uint8)
    stored[[1, 96, 9216]] = 7, 8, 9
    (tmp_path / "unlabeled_X.bin").write_bytes(stored.tobytes())
    image = open_split(tmp_path, "unlabeled").images[0]
    assert (image[0, 1, 0], image[0, 0, 1], image[1, 0, 0]) == (7, 8, 9)


@pytest.mark.parametrize("split", ["train", "test", "unlabeled"])
def test_every_split_gives_its_images(folder, pixels, split):
    opened = open_split(folder, split)
    assert (opened.name, len(opened)) == (split, len(pixels[split]))
    assert np.array_equal(opened.images, pixels[split])


def test_images_are_mapped_not_copied(folder):
    images = open_split(folder, "train").images
    assert isinstance(images, np.memmap)
    assert not images.flags.owndata


def test_a_split_far_larger_than_memory_is_opened_and_cropped(tmp_path):
    with (tmp_path / "unlabeled_X.bin").open("wb") as file:
        file.truncate(10_000_000 * 27_648)  # 276 GB, all of it holes
    split = open_split(tmp_path, "unlabeled")
    last, zero = np.array([9_999_999]), np.array([0])
    assert split.crops(last, zero, zero, zero, 64).sum() == 0


def test_labels_start_at_zero_in_memory(folder):
    labels = open_split(folder, "train").labels
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_class_names_are_read_one_per_line(folder):
    split = open_split(folder, "test")
    assert (split.class_names, split.num_classes) == (("cat", "dog", "owl"), 3)


def test_without_names_there_are_ten_classes_named_by_number(folder):
    (folder / "class_names.txt").unlink()
    split = open_split(folder, "test")
    assert (split.num_classes, split.class_names[0], split.class_names[-1]) == (10, "1", "10")


@pytest.mark.parametrize("size_px", [1, 64, 96])
def test_crops_are_the_windows_asked_for(folder, pixels, size_px):
    samples, y, x, flip = draw(np.random.default_rng(1), 40, size_px, 5)
    crops = open_split(folder, "unlabeled").crops(samples, y, x, flip, size_px)
    for crop, i, top, left, mirrored in zip(crops, samples, y, x, flip, strict=True):
        window = pixels["unlabeled"][i][:, top : top + size_px, left : left + size_px]
        assert np.array_equal(crop, window[..., ::-1] if mirrored else window)


def test_crops_are_contiguous_bytes(folder):
    crops = open_split(folder, "train").crops(*draw(np.random.default_rng(2), 7, 64, 6), 64)
    assert crops.shape == (7, 3, 64, 64)
    assert crops.dtype == torch.uint8
    assert crops.is_contiguous()


def test_no_entries_give_no_crops(folder):
    none = np.zeros(0, np.int64)
    assert open_split(folder, "train").crops(none, none, none, none, 64).shape == (0, 3, 64, 64)


@pytest.mark.parametrize(
    ("sample", "y", "x", "message"),
    [
        (6, 0, 0, "sample 6; expected 0 to 5"),
        (-1, 0, 0, "sample -1; expected 0 to 5"),
        (0, 33, 0, "window edge 33; expected 0 to 32"),
        (0, 0, -2, "window edge -2; expected 0 to 32"),
    ],
)
def test_a_crop_outside_is_refused(folder, sample, y, x, message):
    entries = [np.array([value]) for value in (sample, y, x, 0)]
    expected = f"{folder}, split 'train': {message}; correct the recipe or the caller"
    assert refusal(open_split(folder, "train").crops, *entries, 64) == expected


def test_an_opened_split_is_pickled_without_its_pixels(folder, pixels):
    stored = pickle.dumps(open_split(folder, "train"))
    assert len(stored) < 1000
    assert np.array_equal(pickle.loads(stored).images, pixels["train"])


def test_gray_is_what_pillow_makes_of_it():
    rgb = np.random.default_rng(3).integers(0, 256, (20, 64, 64, 3), np.uint8)
    pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in rgb])
    planes = torch.from_numpy(rgb).permute(0, 3, 1, 2)
    gray = normalise(planes, channels="gray", mean=[0.0], std=[1.0])
    assert gray.shape == (20, 1, 64, 64)
    assert np.array_equal((gray[:, 0] * 255).round().numpy(), pillow)


def test_each_channel_has_its_own_mean_and_std():
    crops = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 3, 1, 1)
    result = normalise(crops, channels="rgb", mean=[0.5, 0.1, 0.0], std=[0.5, 0.2, 4.0])
    assert result.shape == (1, 1, 3, 1, 1)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.flatten(), torch.tensor([-1.0, 0.5, 0.25]))


def test_three_means_for_one_gray_channel_are_refused():
    crops = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    message = refusal(normalise, crops, channels="gray", mean=[0.4, 0.4, 0.4], std=[0.2])
    assert message == (
        "channels 'gray': 3 values of mean and 1 of std; expected 1 of each; give one per channel"
    )


def test_an_unknown_split_is_refused_with_the_nearest_name(folder):
    message = refusal(open_split, folder, "trian")
    assert message == f"{folder}: there is no split 'trian'; did you mean 'train'?"


def test_labels_asked_of_unlabeled_images_are_refused(folder):
    split = open_split(folder, "unlabeled")
    assert split.labels is None
    assert refusal(split.require_labels) == (
        f"{folder}: the split 'unlabeled' has no labels; expected a labelled split; "
        "choose train or test"
    )


def test_a_missing_folder_is_refused(tmp_path):
    gone = tmp_path / "nowhere"
    assert refusal(open_split, gone, "train") == (
        f"{gone}: there is no such file or folder; "
        "check the path of the data set, or fetch the set again"
    )


def test_images_that_are_missing_beside_others_are_refused(folder):
    (folder / "train_X.bin").unlink()
    assert refusal(open_split, folder, "train") == (
        f"{folder / 'train_X.bin'}: there is no such file or folder; "
        "expected it beside test_X.bin, unlabeled_X.bin; fetch the set again"
    )


def test_labels_that_are_missing_are_refused(folder):
    (folder / "train_y.bin").unlink()
    with pytest.raises(NoLabelsError) as info:
        open_split(folder, "train")
    assert str(info.value) == (
        f"{folder / 'train_y.bin'}: there is no such file or folder; "
        "expected one byte per image; fetch the set again"
    )


def test_a_name_in_other_letters_is_hinted_at(folder):
    (folder / "unlabeled_X.bin").rename(folder / "Unlabeled_X.bin")
    assert refusal(open_split, folder, "unlabeled") == (
        f"{folder / 'unlabeled_X.bin'}: there is no such file or folder; "
        "expected it beside Unlabeled_X.bin, test_X.bin, train_X.bin; "
        f"rename it: mv {folder / 'Unlabeled_X.bin'} {folder / 'unlabeled_X.bin'}"
    )


def test_labels_counted_from_0_are_refused_with_a_command_that_mends_them(folder):
    path = folder / "train_y.bin"
    right = path.read_bytes()
    path.write_bytes(bytes(label - 1 for label in right))
    message = refusal(open_split, folder, "train")
    found, cure = message.split("; add 1 to each: ")
    assert found == f"{path}: labels 0 to 2, counted from 0; expected 1 to 3"
    subprocess.run(cure.replace("python", sys.executable, 1), shell=True, check=True)
    assert path.read_bytes() == right


def test_the_folder_above_the_images_is_refused_with_theirs(folder):
    assert refusal(open_split, folder.parent, "train") == (
        f"{folder.parent}: no *_X.bin lies in it, but in set below it; expected images in STL-10's "
        f"layout (unlabeled_X.bin, train_X.bin, …); give {folder} instead"
    )


def test_a_folder_of_pictures_is_refused_with_what_lies_there(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.JPG").touch()
    assert refusal(open_split, tmp_path, "train") == (
        f"{tmp_path}: neither images nor speech in these layouts: 3 .jpg files; expected images in "
        "STL-10's layout (unlabeled_X.bin, train_X.bin, …) or speech in LibriSpeech's "
        "(SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac); "
        f"`gimstage init mine --data {tmp_path}` writes a recipe for it"
    )


def test_a_file_in_place_of_the_folder_is_refused(folder):
    path = folder / "train_X.bin"
    assert refusal(open_split, path, "train") == (
        f"{path}: it cannot be read (Not a directory); check what it is and who may read it"
    )


def test_a_length_that_is_no_multiple_of_an_image_is_refused(folder):
    with (folder / "train_X.bin").open("ab") as file:
        file.write(bytes(1234))
    assert refusal(open_split, folder, "train") == (
        f"{folder / 'train_X.bin'}: 1,234 bytes too many after 6 images; "
        "expected 27,648 bytes per image; restore the file from its source"
    )


def test_an_empty_split_is_refused(folder):
    (folder / "unlabeled_X.bin").write_bytes(b"")
    assert refusal(open_split, folder, "unlabeled") == (
        f"{folder / 'unlabeled_X.bin'}: it is empty; expected at least one image; "
        "restore the file from its source"
    )


def test_more_images_than_labels_are_refused(folder):
    (folder / "train_y.bin").write_bytes(bytes([1, 2]))
    assert refusal(open_split, folder, "train") == (
        f"{folder / 'train_y.bin'}: 2 labels for 6 images; expected one byte per image; "
        "restore the file from its source"
    )


@pytest.mark.parametrize("label", [0, 4])
def test_a_label_outside_the_classes_is_refused(folder, label):
    (folder / "train_y.bin").write_bytes(bytes([1, 2, 3, label, 9, 9]))
    assert refusal(open_split, folder, "train") == (
        f"{folder / 'train_y.bin'}: label {label} at index 3; expected 1 to 3; "
        "restore the file from its source, or list every class in class_names.txt"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "it names no class; expected one name per line"),
        ("cat\ndog\ncat\n", "it names 'cat' twice; expected one name per class"),
    ],
)
def test_class_names_that_name_nothing_or_one_twice_are_refused(folder, text, message):
    (folder / "class_names.txt").write_text(text)
    expected = f"{folder / 'class_names.txt'}: {message}; restore the file from its source"
    assert refusal(open_split, folder, "train") == expected


def test_the_fingerprint_does_not_depend_on_place_or_time(tmp_path, folder):
    before = fingerprint(files(folder, "train"))
    os.utime(folder / "train_X.bin", ns=(1, 1))
    assert fingerprint(files(folder.rename(tmp_path / "elsewhere"), "train")) == before


@pytest.mark.parametrize("name", ["train_X.bin", "train_y.bin", "class_names.txt"])
def test_the_fingerprint_depends_on_every_file_of_the_split(folder, name):
    before = fingerprint(files(folder, "train"))
    (folder / name).write_bytes((folder / name).read_bytes()[::-1])
    assert fingerprint(files(folder, "train")) != before


def test_the_names_of_classes_do_not_touch_the_unlabeled_images(folder):
    before = fingerprint(files(folder, "unlabeled"))
    (folder / "class_names.txt").write_text("other\n")
    assert fingerprint(files(folder, "unlabeled")) == before


def test_the_fingerprint_of_an_unknown_split_is_refused(folder):
    message = refusal(files, folder, "val")
    assert message == f"{folder}: there is no split 'val'; choose from: test, train, unlabeled"


def test_more_classes_than_a_byte_can_tell_are_refused(folder):
    (folder / "class_names.txt").write_text("\n".join(map(str, range(20_000))))
    assert refusal(open_split, folder, "train") == (
        f"{folder}/class_names.txt: it names 20,000 classes; expected at most 255: a label is a "
        "byte; restore the file from its source"
    )
