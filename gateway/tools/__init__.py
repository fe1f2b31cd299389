"""The declarations of all tools, one module per resource; from them every face derives."""

from gateway.core.tool import Catalog
from gateway.tools import jobs, vms

CATALOG = Catalog((*vms.TOOLS, *jobs.TOOLS))
