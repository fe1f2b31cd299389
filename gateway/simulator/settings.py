"""The simulator's settings."""

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """How big, how fast and where a simulated VergeOS is.

    `port` 0 takes a free one. `time_scale` 10 makes VMs ten times as quick as real ones. `lock_after` wrong passwords
    lock a user (0: never). `max_requests_per_second` drops connections above that rate (0: never). With an
    `ssl_context` the server speaks HTTPS.
    """

    vms: int = 40
    seed: int = 7
    host: str = "127.0.0.1"
    port: int = 0
    time_scale: float = 1.0
    api_key: str = "demo"
    user: str = "admin"
    password: str = "demo"  # noqa: S105  (the simulator guards nothing)
    lock_after: int = 5
    read_latency_seconds: float = 0.0
    max_requests_per_second: float = 0.0
    ssl_context: ssl.SSLContext | None = None
