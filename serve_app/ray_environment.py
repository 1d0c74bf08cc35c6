"""What Ray reads from the environment when it is imported: authentication, Serve's HAProxy and its ports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from serve_app import haproxy
from serve_app.ports import free_ports
from tunesmith.settings import Settings, secret_token

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def token_file(settings: Settings) -> Path:
    """The file with this platform's Ray token, which only its owner can read; made at the first start."""
    path = settings.data_dir.absolute() / "ray_token"
    with suppress(FileExistsError), open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secret_token())
    return path


def ray_environment(settings: Settings, scratch: Path) -> Mapping[str, str]:
    """The variables; they must be in place before `import ray`.

    `scratch` is a directory with a path of 25 characters at most: HAProxy adds 70 for its socket, and 97 are allowed.
    """
    metrics, stats, fallback, fallback_grpc = free_ports(4)
    certificate = (settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    proxy = haproxy.wrapped(scratch, settings.host in LOOPBACK, settings.trusted_proxies, certificate)
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Ray runs all its workers with nice 15; here only the trials step back, and by themselves (TrialWorker.setup).
        "RAY_worker_niceness": "0",
        # Serve: HAProxy in front, user code on the main loop (5,330 requests a second here instead of 570).
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(proxy),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(scratch / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(scratch / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(scratch),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(scratch / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }
    if settings.ray_address is None:
        # Set, never left to Ray: its defaults change between releases, and with a mode but no token it writes to HOME.
        # The path, and not the token: whoever runs `ps e`, or code in a worker, sees the environment.
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file(settings))}
    return variables
