"""The job engine's times, with the reason beside each; all in seconds."""

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class EngineTimes(BaseModel):
    """How long the engine waits for what; tests run it at a tenth with `scaled(0.1)`.

    Order that must hold: request < step < lease. A step that outlives its lease belongs to another worker.
    """

    model_config = ConfigDict(frozen=True)

    lease: float = 5.0  # a dead worker's step is taken over after this
    step: float = 3.0  # one run of a job; waiting is rescheduling, not sleeping
    request: float = 2.5  # one request of a step to VergeOS
    settle: float = 6.0  # an act without an answer has happened by then, or never will
    fallback: float = 30.0  # a waiting job is looked at this often even when no watcher wakes it
    backoff_first: float = 0.5
    backoff_last: float = 15.0
    sweep: float = 5.0
    leader: float = 5.0
    poll: float = 0.1  # arq's look at its queue
    watch_fast: float = 2.0
    watch_medium: float = 5.0
    watch_slow: float = 15.0
    watch_fast_until: float = 20.0
    watch_medium_until: float = 120.0
    begin_within: float = 900.0  # a job that has not begun by then expires and never fires later
    gap_asks_after: float = 600.0  # a begun job that stood still this long asks before it goes on
    held_at_most: float = 259_200.0  # three days without sight: a begun job ends then, and says what it cannot know
    answer_within: float = 300.0  # a question nobody answers by then is answered with no
    watch_unforced: float = 300.0  # how long a power-off without a grace of its own is watched
    start_within: float = 150.0  # from the answer to a power-on until the VM runs
    stop_within: float = 30.0  # from the answer to a kill until the VM is off

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if not self.request < self.step < self.lease:
            raise ValueError("engine times must keep request < step < lease")
        return self

    def scaled(self, factor: float) -> Self:
        """Return the same times, each multiplied by `factor`."""
        return self.model_copy(update={name: value * factor for name, value in self})
