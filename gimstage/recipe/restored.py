"""The chain that an identity describes, without the recipe it once came from.

An identity leaves out what changes no number, so a restored chain has other words for that:

    data.source        the layout the data lies in on disk: how a demo was written is not told
    data.validation    none: which samples were held out is told, but not how often they were read
    output             stored, without codes
    stages below       known by their place in the chain; whose they are is not told

All that decides shapes, modules and losses is as it was.
"""

from collections.abc import Mapping
from itertools import count
from typing import Any

from pydantic import TypeAdapter

from gimstage.errors import nearest
from gimstage.recipe.chain import Chain, Stage
from gimstage.recipe.identity import Identity
from gimstage.recipe.names import ModuleKey
from gimstage.specs import DATA_SPECS, DataSpec, StageSpec
from gimstage.specs.outside import UNTRUSTED, Reading

_STAGES = TypeAdapter(dict[str, StageSpec])
_NOT_TOLD = {"store": "features", "codes": False}


def restored_chain(identity: Identity, key: str, reading: Reading = UNTRUSTED) -> Chain:
    """The chain of the stage that has this key and this identity.

    Args:
        identity: the identity of what the stage hands on.
        key: `RECIPE/NUMBER`.
        reading: whether parts from outside the package are imported; else they build nothing.

    Raises:
        ValueError: the identity holds what no table of this release does.
    """
    last, tables = ModuleKey.parse(key), {}
    for position in count(1):
        word = f"stage {position}"
        if identity.get(word) is None:
            break
        tables[word] = _with_rest(identity[word], position)
    if not tables:
        raise ValueError("identity without stages")
    specs = list(_STAGES.validate_python(tables, context=reading).values())
    stages = [Stage("", position, "", spec) for position, spec in enumerate(specs, start=1)]
    stages[-1] = Stage(str(last.run), last.stage, "", specs[-1])
    return Chain(restored_data(identity), tuple(stages))


def restored_data(identity: Identity) -> DataSpec:
    """The data set that an identity of features names, its stored views included.

    Raises:
        ValueError: the identity holds what no table of this release does.
    """
    told: Mapping[str, Any] = identity["data"]
    source = str(told.get("source"))
    if source not in DATA_SPECS:
        raise ValueError(f'identity with data.source = "{source}"; {nearest(source, DATA_SPECS)}')
    spec = DATA_SPECS[source]
    table = {key: value for key, value in told.items() if key != "validation"}
    return spec.model_validate({**spec.untold, **table, "source": spec.layout})


def _with_rest(table: Any, position: int) -> Any:
    """The table of a stage with what its identity does not tell; what is no table as it is."""
    if not isinstance(table, Mapping):
        return table
    output = table.get("output", {})
    return {
        **table,
        "input": "data" if position == 1 else position - 1,
        "output": {**_NOT_TOLD, **output} if isinstance(output, Mapping) else output,
    }
