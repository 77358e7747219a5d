"""The base of the configuration's sections."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr

NO_SECRET = SecretStr("")


class Section(BaseModel):
    """Base of the sections: immutable, exact types, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_by_name=False, validate_by_alias=True)
