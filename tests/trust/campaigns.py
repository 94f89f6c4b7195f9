"""All campaigns, in the order in which they are run."""

from trust.faults import FAULTS
from trust.flips import FLIPS
from trust.forge import FORGE
from trust.inputs import INPUTS
from trust.kills import KILLS
from trust.loaders import LOADERS
from trust.signals import SIGNALS

_ALL = (KILLS, FAULTS, FLIPS, FORGE, INPUTS, SIGNALS, LOADERS)
CAMPAIGNS = {campaign.name: campaign for campaign in _ALL}
