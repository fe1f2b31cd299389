"""`python -m tests.conformance`: the result of the official suite that the README quotes."""

import asyncio
import sys

from tests.conformance.judge import main

sys.exit(asyncio.run(main()))
