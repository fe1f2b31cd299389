"""How the simulated VergeOS says no."""


class ApiError(Exception):
    """A refusal: HTTP status and the text that goes into `{"err": …}` (VergeOS API notes 2.7)."""

    def __init__(self, status: int, err: str) -> None:
        super().__init__(err)
        self.status = status
        self.err = err


def not_found(what: str) -> ApiError:
    """404 for a row that is not there."""
    return ApiError(404, f"{what} not found")
