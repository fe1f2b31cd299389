"""Every failure a caller can meet, as one tree.

    GatewayError
    ├── CallError              the call itself cannot be done; the caller can mend it
    │   ├── InvalidArgument · UnknownTool · UnknownObject · AmbiguousName · UnknownJob · TooManyJobs
    │   ├── Unauthorized · MalformedCredentials · Forbidden · NeedsPerson · NotEnrolled · Frozen · AgentLimit
    │   ├── TooManyFailures · TooManyCalls · TooManyWaits
    │   └── Conflict           TargetBusy · KeyReused · JobEnded · TargetChanged · CoreNetwork
    │                          Protected · OutsideWindow
    ├── StoreError             Redis does not answer, or is full · NewerRecord · AuditUnavailable
    ├── IssuerAway             the identity provider does not tell its keys
    └── UpstreamError          VergeOS did not do it
        ├── VergeOSUnreachable   CircuitOpen
        ├── VergeOSDropped · VergeOSTimeout · VergeOSCertificate
        ├── VergeOSBusy          BudgetSpent
        ├── VergeOSUnauthorized · VergeOSForbidden · VergeOSNotFound
        └── VergeOSInvalid · VergeOSConflict · VergeOSBadAnswer · WrongSite

Each carries a stable `code` for programs, a `detail` for people and the `next_step` a reader can take. The root stands
in `failure`, the branch of VergeOS in `upstream_errors`; who raises or catches one takes it from here.
"""

from typing import Any

from gateway.core.failure import GatewayError as GatewayError
from gateway.core.upstream_errors import (
    BudgetSpent as BudgetSpent,
    CircuitOpen as CircuitOpen,
    UpstreamError as UpstreamError,
    VergeOSBadAnswer as VergeOSBadAnswer,
    VergeOSBusy as VergeOSBusy,
    VergeOSCertificate as VergeOSCertificate,
    VergeOSConflict as VergeOSConflict,
    VergeOSDropped as VergeOSDropped,
    VergeOSForbidden as VergeOSForbidden,
    VergeOSInvalid as VergeOSInvalid,
    VergeOSNotFound as VergeOSNotFound,
    VergeOSTimeout as VergeOSTimeout,
    VergeOSUnauthorized as VergeOSUnauthorized,
    VergeOSUnreachable as VergeOSUnreachable,
    WrongSite as WrongSite,
)


class CallError(GatewayError):
    """The call cannot be done as it was asked; nothing was done."""

    code, status = "bad_call", 400


class InvalidArgument(CallError):
    """An argument is missing, unknown, of the wrong type or out of range."""

    code, status = "invalid_argument", 400
    next_step = "Correct the named argument and call again."


class UnknownTool(CallError):
    """No tool, or no route, has this name."""

    code, status = "unknown_tool", 404
    next_step = "GET /tools lists the tools and their routes."


class UnknownObject(CallError):
    """No VM, network, tenant or node that the caller may see has this id or name."""

    code, status = "not_found", 404
    next_step = "Look it up with list_vms and use its id or exact name."


class AmbiguousName(CallError):
    """Several objects have this name."""

    code, status = "ambiguous_name", 409
    next_step = "Use the id of the one you mean."


class UnknownJob(CallError):
    """No job has this id: it never existed, or its record's time is over."""

    code, status = "job_not_found", 404
    next_step = "list_jobs shows the jobs that still have a record."


class Unauthorized(CallError):
    """The caller is not known."""

    code, status = "unauthorized", 401
    next_step = "Send a valid token in the Authorization header."


class Forbidden(CallError):
    """The caller is known and may not do this."""

    code, status = "forbidden", 403
    next_step = "Ask an administrator of the gateway for the missing permission."


class NotEnrolled(Forbidden):
    """Changes are made with the caller's own VergeOS key, and he enrolled none; nothing was accepted."""

    code = "not_enrolled"
    next_step = "Enrol your VergeOS API key with `vergeos-gateway enroll`."


class Frozen(CallError):
    """Somebody stopped all changes for now, or the gateway only reads; nothing was accepted. Reads go on."""

    code, status = "frozen", 423
    next_step = "Read on; repeat the change once whoever froze it has ended the freeze."


class AgentLimit(CallError):
    """An agent has stopped as much as it may by itself; `retry_after` says when it may again."""

    code, status, retryable = "agent_limit", 429, True
    next_step = "Ask a person: one may stop it with a key of his own."


class NeedsPerson(Forbidden):
    """Only a person may answer this; an agent's own key never does."""

    code = "needs_person"
    next_step = "Ask the person you act for to answer it with a key or login of his own."


class TooManyFailures(CallError):
    """Too many callers of this address could not prove who they are; `retry_after` says when it is heard again."""

    code, status, retryable = "too_many_failures", 429, True
    next_step = "Correct the key or token, wait as long as Retry-After says, then try once."


class TooManyCalls(CallError):
    """The caller has made as many calls as one may in a minute; `retry_after` says when it is over.

    `told_before` is True where the audit has told of such a refusal in this minute.
    """

    code, status, retryable = "too_many_calls", 429, True
    told_before = False
    next_step = "Wait as long as Retry-After says. Follow a job with get_job and `wait` instead of asking again."


class TooManyWaits(CallError):
    """The caller waits for as many jobs, or listens on as many streams, as one may at once; nothing was done."""

    code, status, retryable = "too_many_waits", 429, True
    next_step = "End a wait or close a stream, or ask without waiting: get_job with wait=0."


class MalformedCredentials(CallError):
    """The credentials do not stand where they belong: once, in the Authorization header."""

    code, status = "malformed_credentials", 400
    next_step = "Send one header `Authorization: Bearer <token>` and no token anywhere else."


class Conflict(CallError):
    """The state of the object or of another job stands against the call."""

    code, status = "conflict", 409


class TargetBusy(Conflict):
    """Another open job wants the opposite on the same object."""

    code = "target_busy"
    next_step = "Wait for that job, cancel it, or queue behind it on purpose with after=<its id>."


class TargetChanged(Conflict):
    """The object was renamed or replaced since it was named; nothing was done."""

    code = "target_changed"
    next_step = "Look at the object again and repeat the call for the one you mean."


class CoreNetwork(Conflict):
    """A network that the platform itself needs is not switched by accident; nothing was done."""

    code = "core_network"
    next_step = "Leave it alone, or say allow_core=true if you are sure; that needs the permission 'admin'."


class Protected(Conflict):
    """The object is protected by whoever runs the gateway; nothing was done."""

    code = "protected"
    next_step = "Leave it alone, or ask an administrator of the gateway."


class OutsideWindow(Conflict):
    """The object is changed in its maintenance windows only; nothing was done."""

    code = "outside_window"
    next_step = "Call again when the window is open."


class KeyReused(CallError):
    """An idempotency key came back with other arguments."""

    code, status = "idempotency_key_reused", 422
    next_step = "Use a new key for a new action, or repeat the first call unchanged."


class TooManyJobs(CallError):
    """The caller has as many open jobs as one may have; nothing was accepted."""

    code, status, retryable = "too_many_jobs", 429, True
    next_step = "Wait until some have ended (list_jobs), or cancel what is no longer wanted; then call again."


class JobEnded(Conflict):
    """The job has ended; it can be neither cancelled nor answered."""

    code = "job_ended"
    next_step = "get_job shows how it ended."


class StoreError(GatewayError):
    """Redis does not answer, refuses or is full; nothing was accepted."""

    code, status, retryable = "store_unavailable", 503, True
    next_step = "Nothing was accepted. Repeat the call in some seconds."

    def __init__(self, detail: str, *, retry_after: float | None = 5.0, **extra: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **extra)


class NewerRecord(StoreError):
    """A job was written by a newer version of the gateway, which alone understands it; it was left as it is."""

    code = "newer_record"
    next_step = "Repeat the call in some seconds: a newer version of the gateway is being rolled out."


class AuditUnavailable(StoreError):
    """The audit cannot be written, and nothing is changed that it could not tell of."""

    code = "audit_unavailable"
    next_step = "Make room where AUDIT_LOG points; changes go on by themselves once it can be written."


class IssuerAway(GatewayError):
    """The identity provider cannot be asked for its keys, and none are known."""

    code, status, retryable = "issuer_unavailable", 503, True
    next_step = "Repeat the call in some seconds; OIDC_ISSUER names the provider."
