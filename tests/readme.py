"""The README's tables as the code has them; `python -m tests.readme` writes them into it."""

import re
from pathlib import Path

from gateway.core.times import EngineTimes
from gateway.settings import Settings
from gateway.tools import CATALOG

SENTENCE_END = re.compile(r"(?<!e\.g)\.\s")
README = Path(__file__).parent.parent / "README.md"


def tools() -> str:
    """Return the table of tools: name, permission, route, and the first sentence of what it is for."""
    rows = ["| Tool | Permission | REST | For |", "|---|---|---|---|"]
    for tool in CATALOG:
        first = SENTENCE_END.split(tool.description)[0].rstrip(".")
        routes = "<br>".join(f"`{route.method} {route.path}`" for route in tool.routes)
        rows.append(f"| `{tool.name}` | {tool.permission.value} | {routes} | {first} |")
    return "\n".join(rows)


def settings() -> str:
    """Return the table of settings: variable, default, meaning."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if default is None or default in ("", ()) or isinstance(default, EngineTimes) else f"`{default}`"
        rows.append(f"| `{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """Return the README with its tables as the code has them now."""
    for mark, table in (("tools", tools()), ("settings", settings())):
        text = re.sub(
            rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
