"""Everything that can be set: the environment, read once into one frozen `Settings`."""

import hashlib
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.core.guard import Guards, Selector, Window, own_names, window
from gateway.core.times import EngineTimes

REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
SIMULATED = "simulated"  # the site of every simulation: nothing asked of it can reach a real VM


class Settings(BaseSettings):
    """One process' settings; the names of the variables are the field names in upper case."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    vergeos_host: str = Field(
        "", description="VergeOS: host, host:port or URL. `https://` unless a URL says otherwise."
    )
    vergeos_api_key: SecretStr | None = Field(None, description="VergeOS API key (preferred).")
    vergeos_token: SecretStr | None = Field(None, description="Session token or key, sent as `x-yottabyte-token`.")
    vergeos_user: str = Field(
        "",
        description="VergeOS user, with VERGEOS_PASS.",
        validation_alias=AliasChoices("VERGEOS_USER", "VERGEOS_USERNAME"),
    )
    vergeos_pass: SecretStr | None = Field(
        None, description="Password of VERGEOS_USER.", validation_alias=AliasChoices("VERGEOS_PASS", "VERGEOS_PASSWORD")
    )
    vergeos_verify_ssl: bool = Field(True, description="Verify the certificate of VergeOS.")
    vergeos_ca_bundle: Path | None = Field(None, description="File of the CA that signed the certificate of VergeOS.")
    vergeos_site: str = Field(
        "",
        pattern=r"^[a-z0-9-]{0,60}$",
        description="Name of the VergeOS system in Redis keys; empty = from its address.",
    )
    vergeos_requests_per_second: int = Field(10, ge=0, description="Hard limit over all processes; 0 = none.")
    vergeos_max_concurrent: int = Field(
        5, ge=0, description="Hard limit of requests at once over all processes; 0 = none."
    )
    vergeos_requests_per_hour: int = Field(
        1000, ge=0, description="Soft limit over all processes: reads grow older and jobs are watched less; 0 = none."
    )
    vergeos_timeout: float = Field(10.0, gt=0, description="Seconds a read of VergeOS may take.")
    vergeos_max_answer_mb: int = Field(32, gt=0, description="Largest answer of VergeOS that is read, in MB.")
    stale_seconds: float = Field(
        600.0, ge=0, description="While VergeOS cannot be asked, answers as old as this are shown, marked `stale`."
    )
    storage_tight_percent: float = Field(
        90.0, gt=0, le=100, description="A snapshot or drive on a storage tier as full as this is refused."
    )
    redis_url: SecretStr | None = Field(None, description="Redis; empty = an embedded server on a single machine.")
    redis_timeout: float = Field(
        1.0, gt=0, le=60, description="Seconds that Redis may take to answer a gateway; then its callers hear 503."
    )
    state_dir: Path | None = Field(None, description="Folder of the embedded Redis; empty = the user's state folder.")
    host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(3002, ge=0, le=65535, description="Port the gateway listens on.")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of the gateway's /metrics; 0 = the same port.")
    worker_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of a worker's /metrics, /livez and /readyz; 0 = none."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Host names, separated by commas, that requests may name besides loopback."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web pages that may call from a browser, by exact origin and by commas, e.g. https://a.example."
    )
    gateway_secret_key: SecretStr | None = Field(
        None, description="Seals what clients carry for us; empty = a random key, kept in Redis."
    )
    audit_log: str = Field(
        "", description="File that the audit is appended to, `-` = stdout; empty = stdout for `serve` and `worker`."
    )
    write_as: Literal["service", "caller"] = Field(
        "service", description="Whose VergeOS key makes changes: the gateway's, or the one each caller enrolled."
    )
    service_writers: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="With WRITE_AS=caller: callers whose changes the gateway's key makes all the same, by commas."
    )
    read_only: bool = Field(False, description="Refuse every change; reads go on.")
    protected: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Objects that are never stopped or changed: name globs and `tag:x`, by commas."
    )
    never_force: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Objects whose guest may be asked and whose power is never cut: name globs and `tag:x`."
    )
    own_vms: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="VMs that gateway, Redis and ingress run on, by name or uuid: protected as well."
    )
    maintenance_windows: str = Field(
        "", description="When what may be changed, e.g. `prod-* sat,sun 22:00-04:00; tag:db daily 01:00-03:00` (UTC)."
    )
    agent_stops_per_10_minutes: int = Field(
        5, ge=0, description="VMs that one agent may stop in 10 minutes without a person; 0 = any number."
    )
    agent_stops_per_day: int = Field(20, ge=0, description="The same in a day; 0 = any number.")
    allow_anonymous: bool = Field(False, description="Let in everybody, for everything, without authentication.")
    policy_file: Path | None = Field(
        None, description="YAML file of roles and who has them; read again when it changes, or on SIGHUP."
    )
    oidc_issuer: str = Field(
        "",
        pattern=r"^$|^https://.+|^http://(localhost|127\.0\.0\.1)(:\d+)?(/.*)?$",
        description="Identity provider whose access tokens (JWT) are taken; its discovery document tells the keys.",
    )
    oidc_audience: str = Field("", description="What tokens must be meant for; empty = PUBLIC_URL, or with /mcp.")
    oidc_name_claim: str = Field("sub", description="Claim that names the person.")
    oidc_groups_claim: str = Field("groups", description="Claim that lists the person's groups.")
    oidc_keys_seconds: float = Field(
        600.0, ge=1, description="So long the provider's keys are kept; one that it withdraws holds no longer."
    )
    public_url: str = Field("", description="The gateway's own address, as its callers know it; empty = from Host.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Networks of proxies whose X-Forwarded-For is believed, e.g. 10.0.0.0/8."
    )
    auth_failures_per_minute: int = Field(
        30, ge=0, description="Failures of one address to prove who calls, per replica, until it must wait; 0 = any."
    )
    metrics_open: bool = Field(False, description="Serve /metrics to everybody where callers must prove who they are.")
    vergeos_mcp_url: str = Field("", description="Gateway that `bridge` relays to, e.g. https://vergeos.example.com.")
    vergeos_mcp_token: SecretStr | None = Field(None, description="Token that `bridge` sends to that gateway.")
    vergeos_mcp_ca_bundle: Path | None = Field(
        None, description="File of the CA that signed that gateway's certificate."
    )
    tools: str = Field(
        "all", description="Tools that are served: `all`, `core`, `read`, names, or several of these by commas."
    )
    mcp_wait_seconds: float = Field(45.0, ge=0, le=55, description="Longest wait of one MCP call for its job.")
    same_call_seconds: float = Field(
        120.0, ge=0, description="A call repeated this soon after its job completed is the same call."
    )
    jobs_open_per_caller: int = Field(1000, ge=0, description="Open jobs that one caller may have; 0 = any number.")
    calls_per_minute: int = Field(
        6000, ge=0, description="Calls of one caller in a minute, over all gateways; 0 = any number."
    )
    waits_per_caller: int = Field(
        200, ge=0, description="Waits and event streams of one caller at once, over all gateways; 0 = any number."
    )
    job_days: int = Field(30, ge=1, description="Days that the record of an ended job is kept.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    platform_metrics: bool = Field(
        False, description="Show what reads know of VMs, nodes, tiers and alarms as `vergeos_*` at /metrics."
    )
    log_reads: bool = Field(
        True, description="Log a line for each read that went well, not for changes and errors only."
    )
    otel_exporter_otlp_endpoint: str = Field(
        "", description="Base URL of an OpenTelemetry collector that takes traces (OTLP over HTTP); empty = none."
    )
    engine: EngineTimes = Field(EngineTimes(), description="Times of the job engine, e.g. ENGINE__LEASE=5.")
    engine_speed: float = Field(1.0, gt=0, description="Divides every engine time; tests run with 10.")

    @field_validator(
        *("allowed_hosts", "cors_origins", "service_writers", "protected", "never_force", "own_vms", "trusted_proxies"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return value
        parts = urlsplit(value.get_secret_value())
        try:
            readable = parts.scheme in REDIS_SCHEMES and parts.port != 0
        except ValueError:  # its words would hold a part of the password
            readable = False
        if not readable:
            raise ValueError("is no redis:// address; in its password write / ? # and @ as %2F %3F %23 and %40")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _exact(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [origin for origin in value if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?", origin)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no origin as browsers send it, such as https://a.example")
        return value

    @field_validator("maintenance_windows")
    @classmethod
    def _readable(cls, value: str) -> str:
        _windows(value)
        return value

    @property
    def guards(self) -> Guards:
        """What the settings protect."""
        return Guards(
            protected=tuple(map(Selector, self.protected)),
            never_force=tuple(map(Selector, self.never_force)),
            windows=_windows(self.maintenance_windows),
            own=own_names(self.own_vms),
        )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @property
    def audiences(self) -> list[str]:
        """What a token may be meant for; never empty, since a token for anybody is taken from nobody."""
        base = self.public_url.rstrip("/") or "vergeos-gateway"
        return [self.oidc_audience] if self.oidc_audience else [base, f"{base}/", f"{base}/mcp"]

    @property
    def times(self) -> EngineTimes:
        """The engine's times at the speed that is set."""
        return self.engine if self.engine_speed == 1.0 else self.engine.scaled(1 / self.engine_speed)

    def showing(self, api_key: str) -> Self:
        """Return the same settings with this VergeOS API key in place of all credentials."""
        bare = {"vergeos_token": None, "vergeos_user": "", "vergeos_pass": None}
        return self.model_copy(update={**bare, "vergeos_api_key": SecretStr(api_key)})

    @property
    def base_url(self) -> str:
        """VergeOS' address as a URL without a trailing slash; empty where no host is set."""
        host = self.vergeos_host.strip().rstrip("/")
        return host if not host or "://" in host else f"https://{host}"

    @property
    def site(self) -> str:
        """The name of the VergeOS system in every Redis key: readable, and different for each address."""
        if self.vergeos_site:
            return self.vergeos_site
        address = urlsplit(self.base_url).netloc.lower()
        readable = "".join(c if c.isalnum() else "-" for c in address).strip("-")[:40]
        return f"{readable}-{hashlib.sha256(self.base_url.lower().encode()).hexdigest()[:8]}"

    @property
    def listens_beyond_loopback(self) -> bool:
        """True when the gateway's address can be reached from other machines."""
        return self.host not in {"127.0.0.1", "::1", "localhost"}


def _windows(written: str) -> tuple[Window, ...]:
    return tuple(window(part.strip()) for part in written.split(";") if part.strip())
