"""The work on a probe: what decides its rows, and what of a recipe it needs."""

from pathlib import Path

import pytest
from helpers.homes import at, edit

from gimstage.errors import StaleCacheError
from gimstage.work.base import finish
from gimstage.work.pipeline import Pipeline
from gimstage.work.probe import ProbeWork


def probe_of(pipeline: Pipeline) -> ProbeWork:
    return ProbeWork(
        pipeline.recipe,
        "probe",
        data=pipeline.data,
        runs=pipeline.runs,
        settings=pipeline.settings,
        watch=pipeline.watch,
    )


def test_a_finished_probe_is_not_worked_on_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ProbeWork, "work")
    work = probe_of(at(finished))
    assert work.status().state == "done"
    assert not finish(work)


def test_its_identity_is_what_its_manifest_says(finished: Path) -> None:
    work = probe_of(at(finished))
    manifest = work.folder.probe_manifest()
    assert manifest is not None
    assert manifest.identity == work.identity()


def test_stages_that_lead_to_each_other_are_probed_in_one_stack(finished: Path) -> None:
    stacks = probe_of(at(finished))._stacks()
    assert list(stacks) == ["tiny/1", "tiny/2", "tiny/3"]
    assert len(set(stacks.values())) == 1


def test_a_probe_holds_the_stages_it_reads_and_those_below(finished: Path) -> None:
    reads = probe_of(at(finished)).reads
    assert {chain.last.key for chain in reads} == {"tiny/1", "tiny/2", "tiny/3"}


def test_a_probe_of_a_stage_that_is_not_done_is_stale_and_leaves_its_rows(home: Path) -> None:
    edit(home, "3_*.toml", "seed = ", "seed = 1")
    work = probe_of(at(home))
    assert work.status().state == "stale"
    with pytest.raises(StaleCacheError):
        finish(work)
    assert work.rows()
