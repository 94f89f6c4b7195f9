"""What every table of a recipe shares: strictness, finite numbers, and its identity."""

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)

Shape = tuple[int, ...]

# Marks a key that came later: without a value it is left out of identities, which so stay what they
# were before there was such a key.
LATER = "later"
# Marks a key that only training sees: what a probe finds out does not depend on it.
TRAINING = "training"
# Marks a key that says how data is found, or where: what is found has a digest of its own.
FINDING = "finding"
_IDENTITY = {"identity": True}
_PROBED = {"probed": True}


class KindError(ValueError):
    """The `kind` of a table, or the class behind it, is not what a recipe can use.

    Args:
        found: what is there.
        expected: what should be there; empty where it goes without saying.
        cure: what the user can do about it.
    """

    def __init__(self, found: str, expected: str = "", cure: str = "") -> None:
        self.found, self.expected, self.cure = found, expected, cure
        super().__init__(found)


class Spec(BaseModel):
    """A TOML table: frozen, strict, nothing unknown, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_later_keys(
        self, plain: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        table: dict[str, Any] = plain(self)
        if info.context is not _IDENTITY and info.context is not _PROBED:
            return table
        left_out = {key for key in self._marked(LATER) if table.get(key) is None}
        left_out |= self._marked(FINDING)
        if info.context is _PROBED:
            left_out |= self._marked(TRAINING)
        return {key: value for key, value in table.items() if key not in left_out}

    def _marked(self, mark: str) -> set[str]:
        return {key for key, field in type(self).model_fields.items() if mark in field.metadata}

    def identity(self, *, exclude: Any = None) -> dict[str, Any]:
        """The table as it enters identities: plain JSON values, later keys only where they are set.

        Args:
            exclude: what to leave out, as pydantic takes it.
        """
        return self.model_dump(mode="json", exclude=exclude, context=_IDENTITY)

    def finding(self) -> dict[str, Any]:
        """The keys that only tell how files are found, and their plain JSON values."""
        return self.model_dump(mode="json", include=self._marked(FINDING))

    def as_probed(self) -> dict[str, Any]:
        """The table as it enters the identities of probes: without what only training sees."""
        return self.model_dump(mode="json", context=_PROBED)
