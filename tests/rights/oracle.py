"""Random policies over random objects, and what each of their callers may: worked out naively, without the engine."""

import json
import random
from dataclasses import dataclass, field

from hypothesis import strategies as st

PERMISSIONS = ("read", "operate", "force", "change", "admin")
SITE = "random"
KINDS = ("vm", "network", "tenant", "node", "cluster")
TAGS = ("gold", "lab", "Gold-2", "x")
STANDARD = {
    "viewer": ["read"],
    "operator": ["read", "operate"],
    "engineer": ["read", "operate", "force", "change"],
    "admin": list(PERMISSIONS),
}


@dataclass
class Thing:
    """An object of the site, with a name that stands nowhere else, and all that selectors may ask of it."""

    kind: str
    key: int
    name: str
    facts: dict[str, list[str]]

    @property
    def ref(self):
        return self.kind, self.key


@dataclass
class Site:
    """All objects of a simulated VergeOS."""

    things: list[Thing] = field(default_factory=list)


def rename_all(sim):
    """Give every object of a simulator a name that is no part of any other text."""
    db, names = sim.world.db, {}

    def rename(table, row, name):
        names[row["name"]] = name
        db[table].change(row, {"name": name})

    for table, mark in (("vnets", "net"), ("tenants", "ten"), ("nodes", "nod"), ("clusters", "clu")):
        for row in list(db[table]):
            rename(table, row, f"{mark}-{row['$key']}z")
    for row in list(db["tenant_nodes"]):
        db["tenant_nodes"].change(row, {"name": f"inner-{row['$key']}y"})
    for row in list(db["vms"]):
        rename("vms", row, f"{('web', 'db', 'app')[row['$key'] % 3]}-{row['$key']}z")
    for row in list(db["machine_snapshots"]):
        db["machine_snapshots"].change(row, {"name": f"before-{row['$key']}", "description": "kept"})
    for row in list(db["vm_services"]):
        db["vm_services"].change(row, {"name": names[row["name"]]})
    for row in list(db["logs"]):
        db["logs"].change(row, {"object_name": names.get(row["object_name"], row["object_name"])})


def shuffle(sim, seed):
    """Place, tag and link the VMs anew."""
    db, rng = sim.world.db, random.Random(seed)
    for row in list(db["tag_members"]):
        db["tag_members"].remove(row["$key"])
    tags = list(db["tags"])
    for row, name in zip(tags, TAGS, strict=True):
        db["tags"].change(row, {"name": name})
    nodes, networks = [row["$key"] for row in db["nodes"]], [row["$key"] for row in db["vnets"]]
    for vm in [row for row in db["vms"] if not row.get("is_snapshot")]:
        for tag in rng.sample(tags, rng.choice((0, 0, 1, 2))):
            db["tag_members"].insert({"tag": tag["$key"], "member": f"vms/{vm['$key']}", "created": 1})
        for nic in db["machine_nics"].where("machine", vm["machine"]):
            db["machine_nics"].change(nic, {"vnet": rng.choice(networks)})
        status = sim.world.power.status_of(vm["machine"])
        if status.get("running"):
            db["machine_status"].change(status, {"node": rng.choice(nodes)})
        cluster = rng.choice((1, 1, 2))
        db["machines"].change(db["machines"].rows[vm["machine"]], {"cluster": cluster})


def site_of(sim):
    """Return what there is, as the simulator's tables have it."""
    db, site = sim.world.db, Site()
    names = {table: {row["$key"]: row["name"] for row in db[table]} for table in ("nodes", "clusters", "vnets", "tags")}

    def add(kind, row, **facts):
        known = {name: [value for value in values if value] for name, values in facts.items()}
        site.things.append(Thing(kind, row["$key"], row["name"], {"kind": [kind], "site": [SITE], **known}))

    for row in db["vms"]:
        if not row.get("is_snapshot"):
            machine, status = db["machines"].rows[row["machine"]], sim.world.power.status_of(row["machine"])
            nics = db["machine_nics"].where("machine", row["machine"])
            members = [m["tag"] for m in db["tag_members"] if m["member"] == f"vms/{row['$key']}"]
            add(
                "vm",
                row,
                name=[row["name"]],
                node=[names["nodes"].get(status.get("node"))],
                cluster=[names["clusters"].get(machine.get("cluster"))],
                tag=[names["tags"][tag] for tag in members],
                network=[names["vnets"].get(nic.get("vnet")) for nic in nics],
            )
    for row in db["vnets"]:
        add("network", row, network=[row["name"]])
    for row in db["tenants"]:
        if not row.get("is_snapshot"):
            add("tenant", row, tenant=[row["name"]])
    for row in db["nodes"]:
        add("node", row, node=[row["name"]], cluster=[names["clusters"].get(row["cluster"])])
    for row in db["clusters"]:
        add("cluster", row, cluster=[row["name"]])
    return site


# what may be chosen


def _globs(*more):
    return st.lists(st.sampled_from(("*", "*z", "?*", "none", *more)), min_size=1, max_size=2)


VALUES = {
    "kind": st.lists(st.sampled_from((*KINDS, "system")), min_size=1, max_size=3),
    "site": _globs(SITE, "elsewhere"),
    "tenant": _globs("ten-1z", "ten-[12]z", "TEN-2?"),
    "name": _globs("web-*", "DB-*", "*-3?z", "app-3*", "web-33z"),
    "tag": _globs("gold", "GOLD*", "lab", "?"),
    "network": _globs("net-[1-4]z", "net-5z"),
    "node": _globs("nod-1z", "nod-[!1]z"),
    "cluster": _globs("clu-1z", "clu-2*"),
}
selectors = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
)
choices = st.lists(selectors, max_size=2)
permissions = st.lists(st.sampled_from((*PERMISSIONS, "read", "read", "all")), min_size=1, max_size=3)
rules = st.fixed_dictionaries({"permissions": permissions, "on": choices})
own_roles = st.fixed_dictionaries(
    {"allow": st.lists(rules, min_size=1, max_size=3), "deny": st.lists(rules, max_size=2) | st.just([])}
)
roles = st.sampled_from(("one", "two", *STANDARD))
role_names = st.lists(roles, min_size=1, max_size=2)
people = st.fixed_dictionaries({"roles": role_names, "on": choices})


@dataclass(frozen=True)
class Who:
    """A caller: his key's kind, roles and selectors, and what his owner has by the policy file."""

    kind: str
    roles: list[str]
    select: list[dict]


callers = st.builds(Who, st.sampled_from(("person", "agent", "machine")), role_names, choices)
stories = st.fixed_dictionaries(
    {
        "roles": st.fixed_dictionaries({"one": own_roles, "two": own_roles}),
        "owner": people,
        "who": callers,
        "shuffled": st.integers(0, 999),
    }
)


def policy_text(story):
    """Return the policy file; JSON is YAML."""

    def rule(told):
        return told if told["on"] else {"permissions": told["permissions"]}

    roles = {
        name: {effect: list(map(rule, told[effect])) for effect in ("allow", "deny") if told[effect]}
        for name, told in story["roles"].items()
    }
    owner = story["owner"] if story["owner"]["on"] else {"roles": story["owner"]["roles"]}
    return json.dumps({"roles": roles, "people": {"owner": owner}})


def select_texts(who):
    """Return the selectors of a key as its maker writes them."""
    return tuple(",".join(f"{name}={'|'.join(globs)}" for name, globs in selector.items()) for selector in who.select)


# what follows


def glob(pattern, text):
    """Tell whether a text is what a pattern of *, ? and [ ] describes; upper and lower case are the same."""
    if not pattern:
        return not text
    first, rest = pattern[0], pattern[1:]
    if first == "*":
        return any(glob(rest, text[cut:]) for cut in range(len(text) + 1))
    if not text:
        return False
    if first == "[":
        inside, _, rest = rest.partition("]")
        fits = (text[0] in _letters(inside.lstrip("!"))) is not inside.startswith("!")
        return fits and glob(rest, text[1:])
    return (first == "?" or first.lower() == text[0].lower()) and glob(rest, text[1:])


def _letters(inside):
    if "-" in inside:
        return [chr(code) for code in range(ord(inside[0]), ord(inside[2]) + 1)]
    return list(inside)


def among(selectors, facts):
    """Tell whether one of the selectors is about this; without any all are."""

    def holds(name, globs):
        return any(glob(pattern, value) for pattern in globs for value in facts.get(name, ()))

    return not selectors or any(all(holds(name, globs) for name, globs in each.items()) for each in selectors)


class Oracle:
    """Says what the caller of a story may: default deny, deny beats allow, an agent only what its owner may too."""

    def __init__(self, story):
        self.story, self.who = story, story["who"]

    def may(self, permission, facts):
        who, owner = self.who, self.story["owner"]
        own = self._given(permission, facts, who.roles, who.select)
        return own and (who.kind != "agent" or self._given(permission, facts, owner["roles"], owner["on"]))

    def _given(self, permission, facts, roles, on):
        rules = [rule for role in roles for rule in self._rules(role)]
        if any(effect == "deny" and permission in of and among(where, facts) for effect, of, where in rules):
            return False
        return among(on, facts) and any(
            effect == "allow" and permission in of and among(where, facts) for effect, of, where in rules
        )

    def _rules(self, role):
        if role in STANDARD:
            return [("allow", STANDARD[role], [])]
        told = self.story["roles"][role]
        return [
            (effect, PERMISSIONS if "all" in rule["permissions"] else rule["permissions"], rule["on"])
            for effect in ("allow", "deny")
            for rule in told[effect]
        ]

    def holds(self, permission):
        """Tell whether the permission is given at all, and not denied on everything."""
        given = [self.who.roles, *([self.story["owner"]["roles"]] if self.who.kind == "agent" else [])]
        return all(self._holds(permission, roles) for roles in given)

    def _holds(self, permission, roles):
        rules = [rule for role in roles for rule in self._rules(role)]
        allowed = any(effect == "allow" and permission in of for effect, of, _ in rules)
        return allowed and not any(effect == "deny" and permission in of and not on for effect, of, on in rules)
