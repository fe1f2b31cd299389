"""What every failure that a caller may meet has: the root of the tree in `errors`."""

from typing import Any, ClassVar


class GatewayError(Exception):
    """A failure that may be shown to a caller as it stands: its text holds no secret and no traceback.

    `status` is the HTTP status, `retryable` says whether the same call may succeed later,
    `retry_after` is in seconds, `extra` holds further members of the problem document.
    """

    code: ClassVar[str] = "internal"
    status: int = 500
    retryable: ClassVar[bool] = False
    next_step: str = "Report this to whoever runs the gateway, with the time of the call."

    def __init__(
        self, detail: str, *, next_step: str | None = None, retry_after: float | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.extra = extra
        if next_step is not None:
            self.next_step = next_step

    def as_problem(self) -> dict[str, Any]:
        """Return code, detail, next step and extra members, ready for JSON."""
        return {"code": self.code, "detail": self.detail, "next_step": self.next_step, **self.extra}
