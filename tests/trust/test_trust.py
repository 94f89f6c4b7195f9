"""A few attempts of every campaign, the same in every run; `make trust` tries all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trust.campaigns import CAMPAIGNS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[str, Any]]:
    """What a few attempts of every campaign came to, nothing timed."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "trust", "--quick", "--json"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return {score["campaign"]: score for score in json.loads(done.stdout)}


@pytest.mark.parametrize("name", [n for n, campaign in CAMPAIGNS.items() if campaign.slice])
def test_nothing_is_wrong_after_a_few_faults_of_each_kind(
    scores: dict[str, dict[str, Any]], name: str
) -> None:
    score = scores[name]
    if score["skipped"]:
        pytest.skip(score["skipped"])
    assert score["wrong"] == []
    assert score["tried"] > 0
