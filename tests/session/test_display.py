"""What a person sees while work goes on."""

import io

from rich.console import Console

from gimstage.progress import Progress
from gimstage.session import display


def test_a_low_terminal_shows_the_newest_rows_and_a_new_one_for_the_next_run() -> None:
    console = Console(force_terminal=True, height=6, width=100, file=io.StringIO())
    bars = display._bars(console)
    report = display._rows_on(bars)
    for task in ("a@2/1 train", "probe converged", "a@3/1 train", "probe converged"):
        for done in (1, 2):
            report(Progress(task, done, 2, "steps"))
    rows = [(task.description, task.visible, task.completed) for task in bars.tasks]
    assert rows == [
        ("a@2/1 train", False, 2),
        ("probe converged", False, 2),
        ("a@3/1 train", True, 2),
        ("probe converged", True, 2),
    ]
