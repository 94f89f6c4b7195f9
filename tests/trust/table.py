"""What campaigns came to, as text."""

from collections.abc import Sequence

from trust.bench import ALL, Score

_COLUMNS = ("campaign", "what is tried", "tried", "bound", "wrong", "minutes")


def score_lines(score: Score) -> list[str]:
    """All that was wrong in a campaign, each with the number of its attempt; then its sum."""
    name = score.campaign.name
    wrong = [f"{name} {number}: {sentence}" for number, sentence in score.wrong]
    if score.skipped:
        return [f"{name}: left out, {score.skipped}"]
    return [*wrong, f"{name}: {score.tried:,} tried, {len(score.wrong)} wrong"]


def score_table(scores: Sequence[Score]) -> str:
    """A table with one line a campaign; the bound is how many were to be tried, none wrong."""
    rows = [
        (
            score.campaign.name,
            score.campaign.about,
            f"{score.tried:,}",
            "0 of all" if score.campaign.reach == ALL else f"0 of {score.campaign.reach:,}",
            f"{len(score.wrong):,}",
            f"{score.seconds / 60:.1f}",
        )
        for score in scores
    ]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    lines = [_COLUMNS, tuple("-" * width for width in widths), *rows]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
