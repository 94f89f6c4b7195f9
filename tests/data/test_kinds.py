"""What kind of data lies in a folder."""

from pathlib import Path

from gimstage.data.demo import write_demo
from gimstage.data.demo_speech import write_demo_speech
from gimstage.data.kinds import data_kind


def test_data_is_known_by_the_files_of_its_layout(tmp_path: Path) -> None:
    write_demo(tmp_path / "images", unlabeled=1, train=1, test=1, seed=1)
    write_demo_speech(tmp_path / "speech", speakers=2, train=1, test=1, seed=1)
    kinds = [data_kind(tmp_path / name) for name in ("images", "speech", "nowhere")]
    assert kinds == ["images", "speech", None]
