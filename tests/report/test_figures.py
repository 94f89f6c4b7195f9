import math
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import (
    curve,
    curves,
    several,
    write_images,
    write_probe,
    write_speech,
    write_stage,
)
from matplotlib.axes import Axes
from matplotlib.text import Text

from gimstage.report import collect, drawing
from gimstage.report.drawing import Drawing
from gimstage.report.losses import curve as curve_of
from gimstage.report.losses import draw_losses, modules_of
from gimstage.report.probe_errors import draw_errors, log_ticks


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    runs = tmp_path / "runs"
    write_images(runs, "small", 0.5)
    write_images(runs, "small@3", 0.6, seed=3)
    own = several("isolated", "resnet", "resnet", "resnet")
    lines = curves(20, 2.8, 2.7, 2.6, validated=5)
    write_stage(runs, "small_simultaneous/1", own=own, lines=lines)
    write_probe(runs, "small_cpc/probe", {"1": 0.45})
    return runs


def losses(runs: Path) -> Drawing:
    found = draw_losses(collect(runs), "small", runs / "figures")
    assert found
    return found


def errors(runs: Path, base: str = "small") -> Drawing:
    found = draw_errors(collect(runs), base, runs / "figures")
    assert found
    return found


def texts(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """The texts of every figure that is saved from now on."""
    found: list[Text] = []
    save = drawing._save

    def spy(figure: Any, folder: Path, name: str) -> None:
        save(figure, folder, name)
        found.extend(text for text in figure.findobj(Text) if text.get_text())

    monkeypatch.setattr(drawing, "_save", spy)
    return found


def test_a_curve_is_the_mean_over_seeds_at_the_steps_all_have(tmp_path: Path) -> None:
    write_stage(tmp_path, "small/1", lines=[{"step": s, "loss": 2.0} for s in (1, 2, 3)])
    write_stage(tmp_path, "small@3/1", lines=[{"step": s, "loss": 3.0} for s in (1, 3)], seed=3)
    found = curve_of(collect(tmp_path).groups[0], 1, "loss")
    assert found
    assert (found.steps, found.mean, found.least, found.most) == (
        [1, 3],
        [2.5, 2.5],
        [2.0, 2.0],
        [3.0, 3.0],
    )


def test_a_stage_that_trains_several_modules_has_a_curve_of_each(runs: Path) -> None:
    group = collect(runs).of("small_simultaneous")[0]
    assert modules_of(group) == [1, 2, 3]
    found = curve_of(group, 3, "loss")
    assert found
    assert found.mean[-1] == pytest.approx(2.3)


@pytest.mark.parametrize("modules", [None, "three", [], [7], [{"loss": None}], [{"loss": "x"}]])
@pytest.mark.parametrize("own", [None, several("isolated", "resnet", "resnet")])
def test_modules_of_another_form_draw_nothing_wrong(
    tmp_path: Path, own: dict[str, Any] | None, modules: object
) -> None:
    lines = [line | {"modules": modules} for line in curve(3)]
    write_stage(tmp_path, "small/1", own=own, lines=lines)
    found = draw_losses(collect(tmp_path), "small", tmp_path / "figures")
    assert found is None or (tmp_path / f"figures/{found.name}.svg").exists()


def test_the_sum_over_modules_is_no_curve_of_any_of_them(tmp_path: Path) -> None:
    own, lines = several("isolated", "resnet", "resnet"), curve(3)
    write_stage(tmp_path, "small_simultaneous/1", own=own, lines=lines)
    assert modules_of(collect(tmp_path).groups[0]) == []


def test_validation_is_drawn_at_the_steps_that_have_it(runs: Path) -> None:
    found = curve_of(collect(runs).of("small_simultaneous")[0], 2, "validation_loss")
    assert found
    assert found.steps == [5, 10, 15, 20]
    assert found.mean[-1] == pytest.approx(2.5)


def test_figure_3_says_which_arm_was_not_validated(runs: Path) -> None:
    assert losses(runs).caption == (
        "Means over seeds, the range of the seeds shaded. One module after another: small, small@3;"
        " simultaneous: small_simultaneous. Data: synthetic images (demo). The paper's tables are "
        "of simultaneous runs. No validation loss was logged: one module after another."
    )


def test_figure_3_says_what_was_not_run(runs: Path) -> None:
    (runs / "small_simultaneous/1/manifest.json").unlink()
    assert losses(runs).caption == (
        "Means over seeds, the range of the seeds shaded. One module after another: small, small@3."
        " Data: synthetic images (demo). The paper's tables are of simultaneous runs. "
        "Not run: simultaneous. "
        "No validation loss was logged."
    )


def test_figure_3_in_words_has_the_last_losses(runs: Path) -> None:
    assert losses(runs).alt == (
        "Line charts of the loss against the training step, one for each of 3 modules. "
        "Last losses, one module after another: 2.500, 2.500, 2.500. "
        "Last losses, simultaneous: 2.500, 2.400, 2.300."
    )


def test_figure_3_is_left_out_where_no_loss_was_logged(tmp_path: Path) -> None:
    write_probe(tmp_path, "small/probe", {"1": 0.5})
    assert draw_losses(collect(tmp_path), "small", tmp_path) is None


def test_figure_4_in_words_has_the_errors(runs: Path) -> None:
    assert errors(runs).alt == (
        "Charts of the probes' error against the module on a log scale. "
        "class, protocol paper: Greedy InfoMax 65.0, 55.0, 45.0; CPC 55.0. "
        "class, protocol converged: Greedy InfoMax 65.0, 55.0, 45.0; CPC 55.0."
    )


def test_figure_4_has_a_point_for_every_module_of_a_stage(runs: Path) -> None:
    write_stage(runs, "small_cpc/1", own=several("end_to_end", "resnet", "resnet", "resnet"))
    write_probe(runs, "small_cpc/probe", {"1.3": 0.5, "1.1": 0.3, "1.2": 0.4}, protocols=("paper",))
    assert "class, protocol paper: Greedy InfoMax 65.0, 55.0, 45.0; CPC 70.0, 60.0, 50.0." in (
        errors(runs).alt
    )
    assert "fewer" not in errors(runs).caption


def test_figure_4_says_which_system_has_fewer_modules(runs: Path) -> None:
    assert errors(runs).caption == (
        "Means over seeds; bars are one standard deviation of the sample. Grey: the modules of "
        "Greedy InfoMax before training. Of fewer modules, and drawn to end above the last: CPC. "
        "Data: synthetic images (demo). Without probes: Greedy InfoMax, simultaneous."
    )


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ({"1": 0.45}, [3]),
        ({"1.1": 0.4, "1.2": 0.45}, [2, 3]),
        ({"1.2": 0.4, "1.3": 0.45}, [2, 3]),
        ({"1.3": 0.45, "1.1": 0.4}, [1, 3]),
    ],
)
def test_modules_stand_at_their_place_in_the_network(
    runs: Path, monkeypatch: pytest.MonkeyPatch, inputs: dict[str, float], wanted: list[int]
) -> None:
    found: list[list[float]] = []
    draw = Axes.errorbar
    monkeypatch.setattr(
        Axes, "errorbar", lambda self, x, *a, **k: (found.append([*x]), draw(self, x, *a, **k))[1]
    )
    write_probe(runs, "small_cpc/probe", inputs, protocols=("paper",))
    errors(runs)
    assert [*map(round, found[0])] == [1, 2, 3]
    assert [*map(round, found[1])] == wanted


def test_figure_4_is_of_linear_probes_only(runs: Path) -> None:
    protocols = ("paper", "hidden", "own")
    write_probe(runs, "small_simultaneous/probe", {"1.3": 0.5}, protocols=protocols)
    assert "protocol hidden" not in errors(runs).alt
    assert "protocol own" not in errors(runs).alt


def test_figure_4_says_what_was_not_probed(runs: Path) -> None:
    assert errors(runs).caption.endswith("Without probes: Greedy InfoMax, simultaneous.")


def test_figure_4_is_left_out_where_only_a_baseline_was_probed(tmp_path: Path) -> None:
    write_probe(tmp_path, "small/probe", {"pixels": 0.5})
    assert draw_errors(collect(tmp_path), "small", tmp_path) is None


def test_an_error_of_nothing_has_its_place_on_the_log_scale(tmp_path: Path) -> None:
    write_probe(tmp_path, "small/probe", {"1": 0.5, "2": 1.0})
    drawn = draw_errors(collect(tmp_path), "small", tmp_path / "figures")
    assert drawn
    assert "50.0, 0.6" in drawn.alt  # half of one in 80


@pytest.mark.parametrize(("low", "high"), [(0.5, 90), (44, 82), (48, 52), (0.3, 0.5), (89, 91)])
def test_a_log_scale_has_ticks_within_its_limits(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 10
    assert all(low <= tick <= high for tick in ticks)


def test_no_letter_is_smaller_than_eight_points(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = texts(monkeypatch)
    losses(runs)
    write_speech(runs, "audio", 0.6)
    errors(runs, "audio")
    assert found
    assert min(float(text.get_fontsize()) for text in found) >= 8


def test_the_same_runs_give_the_same_bytes(runs: Path) -> None:
    name = losses(runs).name
    before = [(runs / f"figures/{name}.{form}").read_bytes() for form in ("svg", "png")]
    losses(runs)
    assert before == [(runs / f"figures/{name}.{form}").read_bytes() for form in ("svg", "png")]


def test_a_loss_that_is_not_finite_has_no_point(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss": 1.0, "validation_loss": math.inf}]
    write_stage(tmp_path, "small/1", lines=lines)
    assert curve_of(collect(tmp_path).groups[0], 1, "validation_loss") is None
