"""All campaigns, in the order in which they are run."""

from trust.faults import FAULTS
from trust.flips import FLIPS
from trust.forge import FORGE
from trust.inputs import INPUTS
from trust.kills import KILLS

CAMPAIGNS = {campaign.name: campaign for campaign in (KILLS, FAULTS, FLIPS, FORGE, INPUTS)}
