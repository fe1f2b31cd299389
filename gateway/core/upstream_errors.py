"""What VergeOS did not do: the branch of the tree in `errors` that tells of VergeOS, and whether it may be done."""

from typing import ClassVar

from gateway.core.failure import GatewayError


class UpstreamError(GatewayError):
    """VergeOS did not do what was asked.

    `maybe_done` is true when the request may have taken effect all the same, so a write must be
    looked at before it is repeated.
    """

    code, status = "vergeos_error", 502
    maybe_done: ClassVar[bool] = False
    next_step = "See the detail; `vergeos-gateway doctor` checks the connection."


class VergeOSUnreachable(UpstreamError):
    """No connection could be made: the request surely had no effect."""

    code, status, retryable = "vergeos_unreachable", 503, True
    next_step = "Check that VergeOS runs and that VERGEOS_HOST is right; the call may be repeated."


class CircuitOpen(VergeOSUnreachable):
    """VergeOS failed again and again: until `retry_after` nobody asks it, then one request tries; this was not sent."""

    code = "vergeos_circuit_open"
    next_step = "Repeat the call when retry_after is over; `vergeos-gateway doctor` tells what fails."


class VergeOSDropped(UpstreamError):
    """The connection broke after the request was sent; VergeOS drops connections when pressed."""

    code, status, retryable = "vergeos_dropped", 503, True
    maybe_done = True
    next_step = "Repeat a read; look at the object before repeating a change."


class VergeOSTimeout(UpstreamError):
    """VergeOS did not answer in time; a write may have happened all the same, so look first."""

    code, status, retryable = "vergeos_timeout", 504, True
    maybe_done = True
    next_step = "Repeat a read; look at the object before repeating a change."


class VergeOSBusy(UpstreamError):
    """VergeOS, or a proxy before it, answered 429, 502, 503 or 504."""

    code, status, retryable = "vergeos_busy", 503, True
    maybe_done = True
    next_step = "Repeat the call in some seconds."


class BudgetSpent(VergeOSBusy):
    """Our own limit of requests to VergeOS is reached; this one was not sent. `retry_after` says when there is room."""

    code = "vergeos_budget_spent"
    maybe_done = False
    next_step = "Repeat the call in some seconds; VERGEOS_REQUESTS_PER_SECOND and VERGEOS_MAX_CONCURRENT set the limit."


class VergeOSCertificate(UpstreamError):
    """The certificate of VergeOS cannot be verified; no request was sent."""

    code, status = "vergeos_certificate", 502
    next_step = "Set VERGEOS_CA_BUNDLE to the CA's file, or VERGEOS_VERIFY_SSL=false to trust any certificate."


class VergeOSUnauthorized(UpstreamError):
    """VergeOS refused our credentials; nobody tries them again until they change."""

    code, status = "vergeos_unauthorized", 502
    next_step = "Give the gateway valid VergeOS credentials (VERGEOS_API_KEY, VERGEOS_TOKEN or user and password)."


class VergeOSForbidden(UpstreamError):
    """The gateway's VergeOS user may not do this."""

    code, status = "vergeos_forbidden", 502
    next_step = "Give the gateway's VergeOS user the right to do this."


class VergeOSNotFound(UpstreamError):
    """VergeOS has no such row, or a row that the write refers to is missing."""

    code, status = "vergeos_not_found", 404
    next_step = "Look the object up again; it may have been deleted."


class VergeOSInvalid(UpstreamError):
    """VergeOS refused the values of the request."""

    code, status = "vergeos_invalid", 422
    next_step = "Change the value that VergeOS names."


class VergeOSConflict(UpstreamError):
    """VergeOS refused because of a duplicate or of the object's state."""

    code, status = "vergeos_conflict", 409
    next_step = "Look at the object and choose another value."


class VergeOSBadAnswer(UpstreamError):
    """VergeOS, or a proxy, answered what cannot be understood: an error page, cut or huge JSON, an internal error."""

    code, status = "vergeos_bad_answer", 502
    maybe_done = True
    next_step = "Check that VERGEOS_HOST points at VergeOS itself; repeat a read."


class WrongSite(UpstreamError):
    """The address now answers as another VergeOS system than the one its jobs belong to; nothing was done."""

    code, status = "wrong_site", 503
    next_step = "Check VERGEOS_HOST; a rebuilt system needs a fresh Redis database."
