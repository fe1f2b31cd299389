"""nginx before several gateways, as a proxy of a team: it spreads requests and does not buffer event streams."""

from collections.abc import Iterable
from pathlib import Path

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    upstream gateways {{ {servers} {connections} }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000;
        location / {{
            proxy_pass http://gateways;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_read_timeout 120s;
        }}
    }}
}}
"""


def command(folder: Path, port: int, gateways: Iterable[str], connections: str = "") -> list[str]:
    """Return what runs nginx on a port before gateways at these `host:port`, once its configuration is written.

    `connections` says how it keeps those to the gateways, e.g. `keepalive 64;`.
    """
    servers = " ".join(f"server {gateway} max_fails=0;" for gateway in gateways)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, servers=servers, connections=connections, port=port))
    return ["nginx", "-p", str(folder), "-c", str(file)]
