"""`vergeos-gateway enroll`: a person hands his own VergeOS key to the gateway, over its REST door and no other."""

import argparse
import getpass
import os
import sys
from collections.abc import Mapping

from gateway.remote import Remote


def run(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> None:
    """Ask for the key without showing it, hand it over, and print whose it is; with `forget` take it back.

    Raises `WrongUse`, `CannotReach`, `Refused`.
    """
    remote = Remote.of(environment)
    if options.forget:
        print(remote.post("tools", "forget_key")["result"]["detail"])
        return
    typed = getpass.getpass("VergeOS API key: ") if sys.stdin.isatty() else sys.stdin.readline()
    enrolment = remote.post("tools", "enroll_key", body={"api_key": typed.strip(), "user": options.user})["result"]
    print(f"changes by {enrolment['person']} are made as VergeOS user {enrolment['vergeos_user']} from now on")
