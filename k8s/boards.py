"""What each dashboard shows: its panels with their queries, units, thresholds and runbooks."""

from panels import RATE, Board, M, Panel, fact, quantiles, risen, share, slowest

FAULTS = (
    'outcome=~"internal|store_unavailable|audit_unavailable|wrong_site'
    '|vergeos_(error|unreachable|dropped|timeout|busy|certificate|unauthorized|forbidden|bad_answer)"'
)
REFUSALS = 'outcome=~"unauthorized|forbidden|frozen|agent_limit|protected|core_network|outside_window|read_only"'
CHOSEN = 'tool=~"$tool",face=~"$face"'
RED, ORANGE = "red", "orange"

GATEWAY = Board(
    "vergeos-gateway",
    "Gateway",
    "Rate, errors and duration of calls; how fresh answers are; how the processes do.",
    [
        fact("Calls", "reqps", f"sum(rate({M}_calls_total{{{CHOSEN}}}{RATE}))"),
        fact(
            "Failed by us or VergeOS",
            "percentunit",
            share(f"{M}_calls_total{{{FAULTS}}}", f"{M}_calls_total"),
            runbook="VergeosGatewayErrors",
            thresholds=[(ORANGE, 0.01), (RED, 0.05)],
        ),
        fact(
            "Reads from the cache",
            "percentunit",
            share(f'{M}_view_reads_total{{source="cache"}}', f"{M}_view_reads_total"),
        ),
        fact(
            "Stale reads",
            "percentunit",
            share(f'{M}_view_reads_total{{source="stale"}}', f"{M}_view_reads_total"),
            runbook="VergeosGatewayStaleReads",
            thresholds=[(ORANGE, 0.01), (RED, 0.05)],
        ),
        fact("MCP sessions", "short", f"sum({M}_mcp_sessions)"),
        fact("Who follows events", "short", f"sum({M}_event_followers) + sum({M}_mcp_streams)"),
        Panel("Calls by face", "reqps", [(f"sum by (face) (rate({M}_calls_total{{{CHOSEN}}}{RATE}))", "{{face}}")]),
        Panel(
            "Calls by tool",
            "reqps",
            [(f"topk(10, sum by (tool) (rate({M}_calls_total{{{CHOSEN}}}{RATE})))", "{{tool}}")],
        ),
        Panel(
            "Calls that were not ok",
            "reqps",
            [(f'sum by (outcome) (rate({M}_calls_total{{outcome!="ok",{CHOSEN}}}{RATE}))', "{{outcome}}")],
            runbook="VergeosGatewayErrors",
        ),
        Panel(
            "Duration by face",
            "s",
            quantiles("call_duration_seconds", "face", f"{{{CHOSEN}}}"),
            runbook="VergeosGatewaySlow",
        ),
        Panel(
            "Slowest tools (95th percentile)",
            "s",
            slowest("call_duration_seconds", "tool", f"{{{CHOSEN}}}"),
            words="Calls that wait for a job last as long as they were told to wait.",
        ),
        Panel(
            "Reads by source",
            "reqps",
            [(f"sum by (source) (rate({M}_view_reads_total{RATE}))", "{{source}}")],
            runbook="VergeosGatewayStaleReads",
        ),
        Panel(
            "Age of answers",
            "s",
            quantiles("answer_age_seconds", "source"),
            words="Time since VergeOS was asked for what was answered.",
            runbook="VergeosGatewayStaleReads",
        ),
        Panel(
            "Reads that joined one under way",
            "reqps",
            [
                (
                    f"sum(rate({M}_view_flights_shared_total{RATE})) or 0 * sum(rate({M}_view_reads_total{RATE}))",
                    "joined",
                )
            ],
            words="Callers who asked at once and cost VergeOS one request.",
        ),
        Panel("Reads by view", "reqps", [(f"topk(10, sum by (view) (rate({M}_view_reads_total{RATE})))", "{{view}}")]),
        Panel("Event loop delay", "s", quantiles("event_loop_delay_seconds", "job"), runbook="VergeosGatewaySlow"),
        Panel("CPU", "percentunit", [(f"rate({M}_process_cpu_seconds_total{RATE})", "{{job}} {{instance}}")]),
        Panel("Memory", "bytes", [(f"{M}_process_resident_memory_bytes", "{{job}} {{instance}}")]),
        Panel(
            "Streams",
            "short",
            [(f"sum({M}_event_followers)", "job events"), (f"sum({M}_mcp_streams)", "MCP")],
            width=12,
        ),
        Panel(
            "Followers dropped",
            "short",
            [(f"sum(increase({M}_event_followers_dropped_total[5m]))", "too slow")],
            words="Cut off for reading too slowly; they come back and go on where they were.",
            width=12,
        ),
    ],
    {"tool": f"{M}_calls_total", "face": f"{M}_calls_total"},
)

JOBS = Board(
    "vergeos-gateway-jobs",
    "Jobs",
    "What needs a person first; then how jobs, queue and workers do.",
    [
        fact(
            "Waits for a person",
            "short",
            f'sum(max by (kind) ({M}_jobs_open{{state="input_required"}}))',
            runbook="VergeosGatewayJobAsks",
            thresholds=[(ORANGE, 1)],
        ),
        fact(
            "VMs left off by us, 24 h",
            "short",
            f"sum(increase({M}_jobs_left_off_total[24h]))",
            runbook="VergeosGatewayVmLeftOff",
            thresholds=[(RED, 0.5)],
        ),
        fact(
            "Longest question",
            "s",
            f'max({M}_oldest_open_job_seconds{{state="input_required"}})',
            runbook="VergeosGatewayJobAsks",
            thresholds=[(RED, 600)],
        ),
        fact("Oldest job at work", "s", f'max({M}_oldest_open_job_seconds{{state="working"}})'),
        fact("Workers", "short", f"max({M}_workers_alive)", runbook="VergeosGatewayNoWorker"),
        fact("Somebody watches", "bool_yes_no", f"max({M}_leader_alive)", runbook="VergeosGatewayNoLeader"),
        Panel("Open jobs", "short", [(f"sum by (state) (max by (kind, state) ({M}_jobs_open))", "{{state}}")]),
        Panel(
            "Open jobs by kind",
            "short",
            [(f"sum by (kind) (max by (kind, state) ({M}_jobs_open)) > 0", "{{kind}}")],
            words="Kinds of which none is open are left out.",
        ),
        Panel(
            "Ended",
            "short",
            [(risen("jobs_ended", "state", "5m"), "{{state}}")],
            words="In the last 5 minutes.",
        ),
        Panel(
            "Failures by cause",
            "short",
            [(risen("jobs_failed", "kind, code", "1h"), "{{kind}}: {{code}}")],
            words="In the last hour.",
            runbook="VergeosGatewayJobsFail",
        ),
        Panel(
            "Duration by kind (95th percentile)",
            "s",
            slowest("job_duration_seconds", "kind"),
            words="From the call to the end, graces and waits among it.",
        ),
        Panel(
            "Queue",
            "short",
            [(f"max({M}_queue_ready_steps)", "due now"), (f"max({M}_queue_deferred_steps)", "due later")],
            words="What is due later waits for its VM.",
        ),
        Panel(
            "Lag",
            "s",
            [(f"max({M}_queue_lag_seconds)", "oldest step that is due")],
            runbook="VergeosGatewayQueueLag",
            thresholds=[(ORANGE, 1), (RED, 10)],
        ),
        Panel("Steps", "ops", [(f"sum by (outcome) (rate({M}_job_steps_total{RATE}))", "{{outcome}}")]),
        Panel("Duration of steps", "s", quantiles("job_step_duration_seconds", "")),
        Panel(
            "Recovery",
            "short",
            [
                (f"sum(increase({M}_jobs_swept_total[5m]))", "lost steps queued again"),
                (f'sum by (outcome) (increase({M}_job_steps_total{{outcome!~"ended|waiting"}}[5m]))', "{{outcome}}"),
            ],
            words="In the last 5 minutes: what went wrong and was put right. `fenced`: a stale save was refused.",
            width=16,
        ),
    ],
)

VERGEOS = Board(
    "vergeos-gateway-vergeos",
    "VergeOS",
    "What we ask of VergeOS, how it answers, what is left of the budget; and the platform as our reads show it.",
    [
        fact("Requests", "reqps", f"sum(rate({M}_vergeos_requests_total{RATE}))"),
        fact(
            "Failed",
            "percentunit",
            share(f'{M}_vergeos_requests_total{{outcome!="ok"}}', f"{M}_vergeos_requests_total"),
            runbook="VergeosGatewayCannotSeeVergeos",
            thresholds=[(ORANGE, 0.01), (RED, 0.1)],
        ),
        fact(
            "Not seen for",
            "s",
            f"max({M}_vergeos_unseen_seconds)",
            runbook="VergeosGatewayCannotSeeVergeos",
            thresholds=[(ORANGE, 1), (RED, 60)],
        ),
        fact(
            "Breaker open",
            "bool_yes_no",
            f"max({M}_circuit_open)",
            runbook="VergeosGatewayCannotSeeVergeos",
            thresholds=[(RED, 1)],
        ),
        fact(
            "Left of the hour",
            "percentunit",
            f'min({M}_budget_left{{limit="hour"}} / ({M}_budget_limit{{limit="hour"}} > 0))',
            runbook="VergeosGatewayBudget",
        ),
        fact("Requests, 1 h", "short", f"sum(increase({M}_vergeos_requests_total[1h]))"),
        Panel(
            "Requests by table",
            "reqps",
            [(f"topk(10, sum by (endpoint) (rate({M}_vergeos_requests_total{RATE})))", "{{endpoint}}")],
        ),
        Panel(
            "Outcomes",
            "reqps",
            [(f"sum by (outcome) (rate({M}_vergeos_requests_total{RATE}))", "{{outcome}}")],
            runbook="VergeosGatewayCannotSeeVergeos",
        ),
        Panel("Latency", "s", quantiles("vergeos_request_duration_seconds", "")),
        Panel(
            "Slowest tables (95th percentile)",
            "s",
            slowest("vergeos_request_duration_seconds", "endpoint"),
        ),
        Panel(
            "Left of the limits",
            "percentunit",
            [(f"min by (limit) ({M}_budget_left / ({M}_budget_limit > 0))", "{{limit}}")],
            words="Of requests open at once, in a second and in an hour; a limit that is not set is left out.",
            runbook="VergeosGatewayBudget",
        ),
        Panel(
            "Who spends",
            "reqps",
            [(f"sum by (kind) (rate({M}_budget_spent_requests_total{RATE}))", "{{kind}}")],
            runbook="VergeosGatewayBudget",
        ),
        Panel(
            "VMs",
            "short",
            [("max by (state) (vergeos_vms)", "{{state}}")],
            words="Only with PLATFORM_METRICS=true.",
            width=6,
        ),
        Panel(
            "Nodes",
            "short",
            [("max by (state) (vergeos_nodes)", "{{state}}")],
            words="Only with PLATFORM_METRICS=true.",
            width=6,
        ),
        Panel(
            "Storage tiers",
            "percentunit",
            [("max by (tier) (vergeos_tier_used_bytes / vergeos_tier_capacity_bytes)", "tier {{tier}}")],
            words="Only with PLATFORM_METRICS=true.",
            runbook="VergeosTierFullInDays",
            width=6,
            thresholds=[(ORANGE, 0.8), (RED, 0.9)],
        ),
        Panel(
            "Alarms",
            "short",
            [("max by (level) (vergeos_alarms)", "{{level}}")],
            words="Only with PLATFORM_METRICS=true.",
            width=6,
        ),
    ],
)

TEAM = Board(
    "vergeos-gateway-team",
    "Team",
    "Who calls, what was refused, who stopped what.",
    [
        Panel(
            "Calls by kind of caller", "reqps", [(f"sum by (kind) (rate({M}_caller_calls_total{RATE}))", "{{kind}}")]
        ),
        Panel(
            "Busiest callers",
            "reqps",
            [(f"topk(10, sum by (caller) (rate({M}_caller_calls_total{RATE})))", "{{caller}}")],
            runbook="VergeosGatewayRunawayAgent",
        ),
        Panel(
            "Calls of each, 1 h",
            "short",
            [(f"sort_desc(sum by (caller, kind) (increase({M}_caller_calls_total[1h])))", "{{caller}} ({{kind}})")],
            kind="bargauge",
        ),
        Panel(
            "Refusals",
            "reqps",
            [(f"sum by (outcome) (rate({M}_calls_total{{{REFUSALS}}}{RATE}))", "{{outcome}}")],
            words="What was not permitted, is frozen or protected, or is too much for an agent.",
        ),
        Panel(
            "Too many for one caller",
            "reqps",
            [(f"sum by (limit) (rate({M}_limit_refusals_total{RATE}))", "{{limit}}")],
            words="Calls in a minute, and waits at once, past the limit of their caller.",
            runbook="VergeosGatewayRunawayAgent",
        ),
        Panel(
            "Changes are frozen",
            "bool_yes_no",
            [(f"max by (by) ({M}_changes_frozen)", "by {{by}}")],
            words="By an administrator's freeze, or by the setting of read-only mode.",
        ),
        Panel(
            "Not let in",
            "reqps",
            [(f'sum by (outcome) (rate({M}_authentications_total{{outcome!="ok"}}{RATE}))', "{{outcome}}")],
            runbook="VergeosGatewayAuthFailures",
        ),
        Panel(
            "Changes by kind, 1 h",
            "short",
            [(risen("jobs_ended", "kind", "1h"), "{{kind}}")],
            kind="bargauge",
        ),
        Panel(
            "Audit",
            "short",
            [(risen("audit_entries", "event", "1h"), "{{event}}")],
            words="Entries in the last hour, freezes and thaws among them.",
        ),
    ],
)

BOARDS = (GATEWAY, JOBS, VERGEOS, TEAM)
