"""The name and the life of every Redis key, and where each lives: all begin with the site they belong to."""

from dataclasses import dataclass

DAY_SECONDS = 86_400
IDEMPOTENCY_SECONDS = DAY_SECONDS  # an explicit key holds this long past its job's end
EVENT_STREAM_LENGTH = 10_000  # the fan-out stream; a job's own history stands in its list
JOB_EVENTS_KEPT = 500
AUDIT_WINDOW_LENGTH = 10_000  # what can be looked at; the archive holds all
JOB_CALLS_KEPT = 100
DURATIONS_KEPT = 50  # of each kind of job, for its median
DURATION_SECONDS = 30 * DAY_SECONDS
STAGED_SECONDS = 60  # a refill that takes longer than this to be stored has failed
VIEW_SECONDS = DAY_SECONDS  # rows nobody asks for go; how long they may be *served* is the view's own lifetime
LATCH_SECONDS = 30 * DAY_SECONDS
SESSION_SECONDS = 20 * 3_600  # below VergeOS' 24 h of inactivity
MAILBOX_SECONDS = 30 * DAY_SECONDS  # as long as an MCP session may be carried on
OBSERVED_SECONDS = 600
HEARTBEAT_SECONDS = 15
GOVERNOR_SECONDS = 600
SPENT_SECONDS = 2 * 3_600
WARNED_SECONDS = 3_600
MINUTE_SECONDS = 60
WAITING_SECONDS = 60  # a wait that is not renewed runs out; that of a process that was killed


LIVE = frozenset(
    {
        *("job", "job-events", "job-calls", "jobs", "active", "unbegun", "open-of", "open-as"),
        *("waits", "asked", "queue"),
        *("access", "api-keys", "api-keys-used", "blocked", "events", "sight"),
        *("seal", "identity", "frozen", "audit", "enrolled"),
    }
)
"""The kinds of key that have no expiry: those of open jobs, and a few that are bounded. All others must have one."""


@dataclass(frozen=True)
class Keys:
    """The keys of one site."""

    site: str

    def _key(self, *parts: object) -> str:
        return ":".join(("vg", self.site, *map(str, parts)))

    # jobs
    def job(self, job_id: str) -> str:
        """Hash: `record` (JSON), `fence`, and beside them what callers ask. Live, then JOB_DAYS."""
        return self._key("job", job_id)

    def job_events(self, job_id: str) -> str:
        """List of event JSON, oldest first. Lives as long as the job's hash."""
        return self._key("job-events", job_id)

    def job_calls(self, job_id: str) -> str:
        """List of the job's newest requests to VergeOS (JSON), oldest first. Lives as long as the job's hash."""
        return self._key("job-calls", job_id)

    @property
    def jobs(self) -> str:
        """Sorted set: every job with a record, by time of creation. Trimmed by the sweeper."""
        return self._key("jobs")

    @property
    def active(self) -> str:
        """Sorted set: jobs that have not ended, by time of last progress. Live."""
        return self._key("active")

    @property
    def unbegun(self) -> str:
        """Sorted set: open jobs that have sent nothing to VergeOS yet, by time of creation. Live."""
        return self._key("unbegun")

    def open_of(self, owner: str) -> str:
        """Set: the open jobs of one caller. Live."""
        return self._key("open-of", owner)

    def open_as(self, kind: str, state: str) -> str:
        """Sorted set: the open jobs of one kind in one state, by when they were made or asked. Live."""
        return self._key("open-as", kind, state)

    def jobs_of(self, target: str) -> str:
        """Sorted set: the jobs of one object, by time of creation. As long as the record of its newest job."""
        return self._key("jobs-of", target)

    def durations(self, kind: str) -> str:
        """List: how many seconds the last completed jobs of a kind took, newest first. 30 days."""
        return self._key("durations", kind)

    @property
    def waits(self) -> str:
        """Hash: job id -> what the watcher must know of its wait. Live."""
        return self._key("waits")

    @property
    def asked(self) -> str:
        """Set: jobs of which something was asked that no step has heard yet. Live."""
        return self._key("asked")

    def target_queue(self, target: str) -> str:
        """List: the open jobs of one object in their order; the first owns the object. Live."""
        return self._key("queue", target)

    def last_job(self, target: str) -> str:
        """String: id of the job that was last accepted for this object. A day."""
        return self._key("last", target)

    def idempotency(self, owner: str, digest: str) -> str:
        """String: id of the job this call made. As long as the job runs, then a day."""
        return self._key("idem", owner, digest)

    @property
    def events(self) -> str:
        """Stream of all job events and view changes, for fan-out. Bounded by length."""
        return self._key("events")

    @property
    def arq_queue(self) -> str:
        """arq's queue: of this site alone, so that no worker of another site sees its steps."""
        return f"arq:queue:{self.site}"

    # the watcher
    @property
    def leader(self) -> str:
        """String: which worker watches and sweeps. Seconds."""
        return self._key("leader")

    @property
    def observed(self) -> str:
        """Hash: watched object -> last observation (JSON). Minutes."""
        return self._key("observed")

    @property
    def sight(self) -> str:
        """Hash: since when VergeOS cannot be seen, and for how long in all. Live."""
        return self._key("sight")

    @property
    def workers(self) -> str:
        """Sorted set: the workers, by when they last said that they live. Seconds."""
        return self._key("workers")

    # reads
    def view(self, name: str) -> str:
        """Hash: generation and time of a view's rows. A day."""
        return self._key("view", name)

    def view_rows(self, name: str) -> str:
        """Hash: row key -> row (JSON). A day."""
        return self._key("view-rows", name)

    def view_staged(self, name: str, part: str) -> str:
        """Hash: rows of a refill that is on its way. A minute at most."""
        return self._key("view-staged", name, part)

    def view_refresh(self, name: str) -> str:
        """String: which process refreshes the view now. Seconds."""
        return self._key("view-refresh", name)

    # guards
    @property
    def frozen(self) -> str:
        """String: the freeze of all changes (JSON). Until its end, or until somebody ends it."""
        return self._key("frozen")

    @property
    def own_vms(self) -> str:
        """Sorted set: uuids of the machines that our processes run on, by when they last said so. Days."""
        return self._key("own-vms")

    @property
    def audit(self) -> str:
        """Stream: the newest entries of the audit (JSON), of all writers. Bounded by length."""
        return self._key("audit")

    @property
    def enrolled(self) -> str:
        """Hash: person -> the sealed VergeOS key that he enrolled, and whose it is (JSON). Until he is offboarded."""
        return self._key("enrolled")

    def agent_stops(self, agent: str) -> str:
        """Sorted set: jobs of an agent that stop something, by time of acceptance. A day."""
        return self._key("agent-stops", agent)

    # MCP
    def mailbox(self, session: str) -> str:
        """Stream: what was left for the holder of an MCP session's stream. 30 days after the last post."""
        return self._key("mail", session)

    @property
    def seal(self) -> str:
        """String: the key that seals what callers carry, where no setting gives one. Live."""
        return self._key("seal")

    # callers
    @property
    def api_keys(self) -> str:
        """Hash: id of an API key -> what is known of it (JSON), its secret as a digest only. Until it is revoked."""
        return self._key("api-keys")

    @property
    def api_keys_used(self) -> str:
        """Hash: id of an API key -> when it was last used, to the minute. As long as the key."""
        return self._key("api-keys-used")

    @property
    def blocked(self) -> str:
        """Hash: name of a person who is let in no more, whatever he brings -> since when. Live."""
        return self._key("blocked")

    @property
    def access(self) -> str:
        """Counter: raised with every change of keys and of who is blocked; above 0 callers must prove themselves."""
        return self._key("access")

    def calls_of(self, caller: str) -> str:
        """Counter: the calls of one caller that processes have taken for a minute. The rest of that minute."""
        return self._key("calls-of", caller)

    def waiting(self, caller: str) -> str:
        """Sorted set: the waits and streams of one caller, by the time until which they are held. A minute."""
        return self._key("waiting", caller)

    # VergeOS
    @property
    def identity(self) -> str:
        """String: the identity of the VergeOS system that this site was first seen as. Live."""
        return self._key("identity")

    def latch(self, fingerprint: str) -> str:
        """String: since when VergeOS refuses these credentials. 30 days."""
        return self._key("refused", fingerprint)

    def readmitted(self, fingerprint: str) -> str:
        """String: when somebody last let these credentials be tried again; no refusal from before counts. 30 days."""
        return self._key("readmitted", fingerprint)

    def session(self, fingerprint: str) -> str:
        """String: the session token that all processes share. 20 hours."""
        return self._key("session", fingerprint)

    def governor(self, fingerprint: str) -> str:
        """Hash: each process' part of the limits of requests, and how VergeOS does (JSON). Minutes."""
        return self._key("governor", fingerprint)

    def spent(self, fingerprint: str, part: int) -> str:
        """Hash: who spends -> how many requests in one part of the hour. An hour and a bit."""
        return self._key("spent", fingerprint, part)

    def hot(self, fingerprint: str) -> str:
        """Sorted set: requests that refill views, by the time until which they are expected again. Minutes."""
        return self._key("hot", fingerprint)

    def warned(self, fingerprint: str) -> str:
        """String: somebody was told that the hour is nearly spent. An hour."""
        return self._key("warned", fingerprint)
