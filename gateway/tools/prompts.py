"""What a person may ask with one click: prompts that tell a model which tools to use and what to look at first."""

from gateway.core.offer import Prompt, PromptParameter
from gateway.tools.resources import NODE_NAMES, VM_NAMES

DIAGNOSE_VM = Prompt(
    "diagnose_vm",
    "Find out what is wrong with a VM, and what to do about it.",
    "Find out what is wrong with the VM named below. Call diagnose_vm for it first: `wrong` lists what stands out, "
    "the gravest first. Where it names a drive, NIC, snapshot, alarm or log line, follow that one up; history shows "
    "who changed what, and when. Tell me the likeliest cause, what you saw that supports it, and the next step. "
    "Change nothing before I agree.\n\nVM: {vm}",
    ("diagnose_vm", "history"),
    (PromptParameter("vm", "id or exact name of the VM", VM_NAMES),),
)
MORNING_REPORT = Prompt(
    "morning_report",
    "Report how the platform is, for the start of a day.",
    "Write this morning's report on the platform. Call get_overview first. Then get_alarms for what is raised, "
    "get_logs with level error and since 24h for what failed in the night, list_jobs for what was changed or still "
    "runs, and get_cluster_stats where a tier is more than 80 % full. Begin with what needs a person today, then "
    "what to keep an eye on, then one line on what is well. Name objects with their ids, and say how old your "
    "figures are.",
    ("get_overview", "get_alarms", "get_logs", "list_jobs", "get_cluster_stats"),
)
PLAN_MAINTENANCE = Prompt(
    "plan_maintenance",
    "Plan the maintenance of a node: what runs there, and whether the others can carry it.",
    "Plan the maintenance of the node named below. Call list_nodes first, with fields=vm_ram_mb,vm_ram_used_mb: can "
    "the other nodes take the RAM that is given to VMs on this one? Then list_vms for what runs there (the column "
    "`node`; go on with `next`), get_alarms for what is wrong already, and list_jobs with state working for what is "
    "under way. Answer a plan in steps: which VMs move and which must stop, in which order, what to check in between, "
    "and how to go back. Do nothing yet.\n\nNode: {node}",
    ("list_nodes", "list_vms", "get_alarms", "list_jobs"),
    (PromptParameter("node", "exact name of the node", NODE_NAMES),),
)

PROMPTS = (DIAGNOSE_VM, MORNING_REPORT, PLAN_MAINTENANCE)
