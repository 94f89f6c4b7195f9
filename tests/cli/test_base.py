"""What all commands share: one message for each error, on one stream, with one exit code."""

import json
import signal
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gimstage.cli import base
from gimstage.cli.base import answer, guarded, notice, option, with_options
from gimstage.errors import DataError
from gimstage.progress import Interrupted


def ended(error: BaseException | None = None, *arguments: str, document: Any = None) -> Result:
    """A command that raises an error, or else answers."""

    @click.command()
    @option("--json", "as_json", is_flag=True)
    @option("--runs", default="runs")
    @guarded
    def command(as_json: bool, runs: str) -> None:
        if error is not None:
            raise error
        answer(document, "a [red] picture", as_json=as_json)

    return CliRunner().invoke(command, arguments)


def streams(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


def test_a_picture_is_shown_as_it_is() -> None:
    assert streams(ended()) == (0, "a [red] picture\n", "")


def test_a_document_is_one_line_in_which_letters_stay_letters() -> None:
    result = ended(None, "--json", document={"what": "≤ 2 × 3", "none": None})
    assert streams(result) == (0, '{"what": "≤ 2 × 3", "none": null}\n', "")


def test_an_error_of_gimstage_is_one_message_and_exit_1() -> None:
    result = ended(DataError("a [file]", "wrong", "right", "mend it"))
    assert streams(result) == (1, "", "error a [file]: wrong; expected right; mend it\n")


def test_an_error_as_json_goes_to_stdout_with_its_type() -> None:
    code, out, err = streams(ended(DataError("a file", "wrong"), "--json"))
    wanted = {"error": {"type": "DataError", "message": "a file: wrong"}}
    assert (code, json.loads(out), err) == (1, wanted, "")


def test_an_error_of_the_system_names_the_file_and_what_to_do() -> None:
    result = ended(PermissionError(13, "Permission denied", "runs/x/1/state"))
    assert streams(result) == (
        1,
        "",
        "error runs/x/1/state: Permission denied; nothing written is lost: see who may read and "
        "write there, then run the same command again\n",
    )


def test_an_error_of_the_system_without_a_file_names_the_runs() -> None:
    result = ended(OSError("odd"), "--runs", "elsewhere")
    assert result.stderr == (
        "error elsewhere: odd; nothing written is lost: see what the system has to say of it, "
        "then run the same command again\n"
    )


def test_an_error_of_the_system_as_json_is_an_oserror() -> None:
    result = ended(PermissionError(13, "Permission denied", "x"), "--json")
    assert json.loads(result.stdout)["error"]["type"] == "OSError"
    assert result.exit_code == 1


def test_a_reader_that_went_away_is_no_error() -> None:
    assert streams(ended(BrokenPipeError())) == (0, "", "")


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("received", "code"), [([], 130), ([signal.SIGINT], 130), ([signal.SIGTERM], 143)]
)
def test_a_stop_exits_with_the_number_of_its_signal(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, received: list[int], code: int
) -> None:
    monkeypatch.setattr(base, "_received", received)
    assert streams(ended(error)) == (code, "", "stopped; the same command goes on from here\n")


def test_a_stop_as_json_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_received", [])
    result = ended(Interrupted(), "--json")
    message = "stopped; the same command goes on from here"
    assert json.loads(result.stdout) == {"error": {"type": "Interrupted", "message": message}}
    assert (result.exit_code, result.stderr) == (130, "")


def test_a_want_of_memory_is_one_message() -> None:
    result = ended(MemoryError("Unable to allocate 7 GiB"))
    assert streams(result) == (
        1,
        "",
        "error out of memory: Unable to allocate 7 GiB; expected what is free to be enough; "
        "make memory free, or ask for less\n",
    )


def test_something_nested_too_deep_is_one_message() -> None:
    assert streams(ended(RecursionError("maximum recursion depth exceeded"))) == (
        1,
        "",
        "error something that is read is nested too deep; see that it is what it should be\n",
    )


def test_an_error_nobody_foresaw_is_not_hidden() -> None:
    assert isinstance(ended(ZeroDivisionError("odd")).exception, ZeroDivisionError)


def test_a_notice_goes_beside_the_answer() -> None:
    @click.command()
    def command() -> None:
        notice("a [blue] notice")
        answer({}, "the answer", as_json=False)

    assert streams(CliRunner().invoke(command)) == (0, "the answer\n", "a [blue] notice\n")


def test_options_stand_in_the_order_of_their_groups() -> None:
    @click.command()
    @with_options([option("--one"), option("--two")], [option("--three")])
    def command(**options: Any) -> None:
        """Nothing."""

    assert [parameter.name for parameter in command.params] == ["one", "two", "three"]


def test_a_watch_that_is_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from gimstage.progress import Progress

    for quiet in (True, False):
        with base.watching(quiet=quiet) as watch:
            watch.report(Progress("x", 2, 2, "rows"))
        shown = capsys.readouterr()
        assert (shown.out, shown.err.strip()) == ("", "" if quiet else "x: 2/2 rows")
