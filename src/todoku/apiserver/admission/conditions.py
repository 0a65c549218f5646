"""matchConditions of webhooks and policies: CEL expressions that must all be true.

Source: KEP-3716.  Variables: object, oldObject, request, authorizer.
"""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.errors import InternalError
from todoku.api.meta import Object
from todoku.apiserver.config import Attributes


class Conditions:
    async def hold(
        self, conditions: Sequence[Object], attributes: Attributes, *, fails_open: bool, what: str
    ) -> bool:
        """Whether the request passes; an expression that fails counts by the failure policy."""
        if not conditions:
            return True
        raise InternalError(f"{what}: match conditions need CEL, which this server does not have")
