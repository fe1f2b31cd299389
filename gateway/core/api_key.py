"""An API key: what is known of it, and how its text is made and read. Its secret is kept nowhere."""

import hashlib
import hmac
import re
from ipaddress import ip_address, ip_network

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.access import CallerKind

PREFIX = "vgk"
TOKEN = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")
NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}$"


class ApiKeyView(BaseModel):
    """An API key as administrators see it. Times are Unix seconds; `select` holds selectors, any of which may match."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    owner: str = Field(description="the person who answers for it")
    kind: CallerKind
    roles: tuple[str, ...]
    select: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = Field((), description="addresses it may come from; none = any")
    created_at: float
    created_by: str
    expires_at: float | None = None
    last_used_at: float | None = None

    @property
    def caller(self) -> str:
        """The name under which its holder calls: a person's own, an agent's behind its owner's, a machine's."""
        names = {CallerKind.PERSON: self.owner, CallerKind.AGENT: f"{self.owner}/{self.name}"}
        return names.get(self.kind, self.name)


class ApiKey(ApiKeyView):
    """An API key as it is stored: with the digest of its secret."""

    digest: str

    def view(self, last_used_at: float | None = None) -> ApiKeyView:
        """Return what may be shown."""
        return ApiKeyView(**self.model_dump(exclude={"digest", "last_used_at"}), last_used_at=last_used_at)

    def fits(self, secret: str) -> bool:
        """Tell whether this is the key's secret, in a time that tells nothing of it."""
        return hmac.compare_digest(self.digest, digest_of(secret))

    def usable(self, now: float) -> bool:
        """Tell whether it has not expired; `now` in Unix seconds."""
        return self.expires_at is None or now < self.expires_at

    def usable_from(self, address: str) -> bool:
        """Tell whether it may come from this address."""
        if not self.cidrs:
            return True
        try:
            came_from = ip_address(address)
        except ValueError:
            return False
        return any(came_from in ip_network(cidr) for cidr in self.cidrs)


def digest_of(secret: str) -> str:
    """Return the digest of a secret; 256 random bits need no slow one."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_of(key_id: str, secret: str) -> str:
    """Return the text that its holder gets, once."""
    return f"{PREFIX}_{key_id}_{secret}"


def read_token(token: str) -> tuple[str, str] | None:
    """Return id and secret of a key's text, None where it is none."""
    found = TOKEN.fullmatch(token)
    return None if found is None else (found[1], found[2])
