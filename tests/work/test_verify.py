"""Everything that finished stages and probes left is read, and all that fails is listed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import gimstage, options
from helpers.homes import at
from helpers.manifests import BESIDE

from gimstage.errors import StaleCacheError
from gimstage.errors.commands import Asked, asking
from gimstage.work.verify import damage_in


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage(home: Path) -> list[str]:
    """What is said of everything that is damaged."""
    return [str(error) for error in damage_in(at(home).verify())]


def test_what_was_read_is_told_of_every_stage_and_probe(finished: Path) -> None:
    verified = at(finished).verify()
    assert [(each.kind, each.name) for each in verified] == [
        *(("stage", number) for number in "123"),
        ("probe", "probe"),
    ]
    stage = ["manifest.json", *BESIDE, "features.zarr", "data"]
    assert [each.read for each in verified] == [stage] * 3 + [["manifest.json", "data"]]
    assert list(damage_in(verified)) == []


@pytest.mark.parametrize("name", [*BESIDE, "manifest.json"])
@pytest.mark.parametrize("damage_it", [flip, Path.unlink])
def test_one_damaged_file_of_a_stage_is_one_error(
    home: Path, name: str, damage_it: Callable[[Path], None]
) -> None:
    path = home / "runs/tiny/2" / name
    damage_it(path)
    if not path.exists() and name == "manifest.json":
        assert [each.name for each in at(home).verify()] == ["1", "3", "probe"]
        return
    (found,) = damage(home)
    assert found.startswith(f"{path}: ")


def test_all_that_is_damaged_is_listed(home: Path) -> None:
    runs = home / "runs/tiny"
    shard = next((runs / "1/features.zarr/features").glob("c*"))
    pixels = next((home / "runs/data").glob("demo-*")) / "unlabeled_X.bin"
    paths = [runs / "1/weights.safetensors", runs / "1/metrics.jsonl", shard]
    paths += [pixels, runs / "2/manifest.json", runs / "probe/manifest.json"]
    for path in paths:
        flip(path)
    with asking(Asked(home / "tiny", home / "runs")):
        found = damage(home)
    for path in paths:  # what is wrong with data is told of the split
        place = path.parent if path == pixels else path
        assert any(message.startswith(str(place)) for message in found)
    result = gimstage("verify", *options(home))
    assert result.exit_code == 1
    assert [line for line in found if f"error {line}" not in result.stderr.replace("\n", "")] == []


def test_what_was_set_aside_is_named(home: Path) -> None:
    aside = home / "runs/tiny/2/features.zarr/features/c.0.damaged"
    aside.write_text("x")
    assert [each.asides for each in at(home).verify()] == [[], [aside], [], []]


def test_there_must_be_something_to_verify(fresh: Path) -> None:
    with pytest.raises(StaleCacheError) as caught:
        at(fresh).verify()
    assert str(caught.value) == (
        f"{fresh}/runs/tiny: nothing to verify; expected a finished stage; "
        f"finish one with `gimstage run --recipe stages/tiny --runs {fresh / 'runs'}`, "
        "or name the folder of its runs with --runs"
    )


def test_imported_files_that_changed_since_are_said_to_have(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gimstage.inputs.base.DataSet.is_outdated", True)
    monkeypatch.setattr("gimstage.inputs.base.DataSet.is_made", False)
    message = gimstage("verify", *options(finished)).stderr.splitlines()[-1]
    said = "its files have changed since; expected the files that were imported; import them again"
    assert message.startswith("error ")
    assert f"{said} with `gimstage run --recipe " in message
