"""The permissions there are."""

from enum import StrEnum


class Permission(StrEnum):
    """The five permissions, from harmless to grave."""

    READ = "read"
    OPERATE = "operate"  # power on, graceful off and reset, create a VM snapshot
    FORCE = "force"  # force off, hard reset, any forced fallback
    CHANGE = "change"  # resize, drives, network apply
    ADMIN = "admin"  # restore, delete, tenants, core networks, keys
