"""`python -m worker`: a worker process, the same as `vergeos-gateway worker`."""

import sys

from gateway.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["worker", *sys.argv[1:]]))
