"""What all tests share: the golden fixtures and where they lie, and homes of small recipes."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

# Small tensors compute fastest on one thread; processes that tests start inherit the setting, so
# their bits can be compared.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from helpers.homes import finish, unrun  # noqa: E402
from hypothesis import settings  # noqa: E402
from torch import Tensor  # noqa: E402

Golden = dict[str, Tensor]

# No example is timed, for a machine may be busy; the same examples are tried in every run.
settings.register_profile("gimstage", deadline=None, derandomize=True)
settings.load_profile("gimstage")


@pytest.fixture
def hangups() -> Iterator[None]:
    """A process that hears of a closed terminal, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Callable[[str], Golden]:
    """Loads a fixture by name: floating arrays as float64 tensors, all others as int64."""
    folder = request.config.getoption("--golden") or Path(__file__).parent / "golden"

    def load(name: str) -> Golden:
        with np.load(folder / f"{name}.npz") as arrays:
            return {key: _wide(torch.from_numpy(arrays[key])) for key in arrays.files}

    return load


def _wide(array: Tensor) -> Tensor:
    return array.to(torch.float64 if array.is_floating_point() else torch.int64)


@pytest.fixture(scope="session")
def finished_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the small recipe of images has run; it is not to be changed."""
    return finish(tmp_path_factory.mktemp("images"), "tiny")


@pytest.fixture(scope="session")
def finished_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the small recipe of speech has run; it is not to be changed."""
    return finish(tmp_path_factory.mktemp("speech"), "tiny_audio")


@pytest.fixture(scope="session")
def finished_maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the small recipe of whole maps has run; it is not to be changed."""
    return finish(tmp_path_factory.mktemp("maps"), "tiny_maps")


@pytest.fixture(scope="session")
def finished(finished_images: Path) -> Path:
    """The finished home that `home` and `fresh` copy; a module may have one of its own."""
    return finished_images


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy, which may be changed, of the home that `finished` gives."""
    return Path(shutil.copytree(finished, tmp_path / "home"))


@pytest.fixture
def fresh(finished: Path, tmp_path: Path) -> Path:
    """The recipe and data of that home, without any run."""
    return unrun(finished, tmp_path / "home")
