"""Settings: one frozen class, read once from `TUNESMITH_*` and passed down; an unknown variable is an error."""

from __future__ import annotations

import difflib
import json
import os
import re
import secrets
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from tunesmith.channels import well_known_channels
from tunesmith.domain.identity import MAX_PASSWORD, MIN_PASSWORD, Role
from tunesmith.domain.issuers import JwtIssuer, SafeUrl, Site
from tunesmith.domain.notification import STATUSES, Channel, ChannelName, Rule
from tunesmith.errors import InvalidSettings

PREFIX = "TUNESMITH_"
MIN_KEY = 16
"""Characters of the static key, at least."""
MIN_SECRET_KEY = 32
"""Characters of a key that secrets are encrypted with, at least."""
KEY_VARIABLES = ("ENABLE_API_AUTH", "API_KEY")
"""The static key under the names that other services know it by."""
SECRET = frozenset(
    {
        "api_key",
        "admin_password",
        "database_url",
        "channels",
        "notify",
        "webhook_secret",
        "oidc_client_secret",
        "secret_key",
    }
)
"""Settings whose values are never shown."""
LISTS = frozenset({"node_types", "container_options", "plugins", "cors_origins", "trusted_proxies", "oidc_domains"})
"""Settings that are lists: JSON, or words with commas between."""
OBJECTS: Mapping[str, str] = {
    "prices": '{"t3.large": 0.0832}',
    "channels": '{"team": "slack://..."}',
    "notify": '[{"channel": "team", "on": ["failed"]}]',
    "jwt_issuers": '[{"issuer": "https://id.example.org", "audience": "tunesmith"}]',
}
"""Settings that are JSON, each with an example."""
ORIGIN = re.compile(r"https?://[^/?#\s@]+")
"""Where a page comes from, as browsers say it."""
REFERENCE = re.compile(r"code:[0-9a-f]{64}|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""A plugin: an object of a module, or one that was pickled and is kept under its SHA-256."""
NO_RATE = "none"
RATES = ("runs_rate", "rate_reads", "rate_writes", "rate_work")
"""Settings that say how often something may be asked for."""
TRIAL_VARIABLES = (
    "METRICS", "JOB_ID", "TRIAL_NUMBER", "EXPERIMENT_ID", "TRIAL_DIR", "EXIT_CODE", "ATTEMPT",
    "REPEAT", "CHECKPOINT", "STEP", "STEPS",
)  # fmt: skip
"""Set by the platform in a trial's environment, with `PARAM_*`: they are no settings, and no error either."""


class Settings(BaseModel):
    """Everything that can be set; `TUNESMITH_DATA_DIR` sets `data_dir`, and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Path(".tunesmith")
    """SQLite file, artefacts, logs, run file: everything of one platform lies here."""
    database_url: str | None = None
    """SQLAlchemy URL; unset: SQLite in the data directory. `postgresql://...` goes through psycopg 3."""
    storage: str | None = None
    """Where logs and artefacts go: a directory or `s3://bucket/prefix`; unset: `artifacts` in the data directory."""
    training_data: Path | None = None
    """Directory that trainings may read files from, and no other; unset: `training` in the data directory."""
    host: str = "127.0.0.1"
    """Address that the service listens on; anything but loopback needs authentication."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port that the service listens on; 0: a free one."""
    optuna_port: int | None = Field(default=None, ge=0, le=65535)
    """Port that an Optuna server listens on beside the service (0: a free one); unset: none runs."""
    mode: Literal["dev", "prod"] = "dev"
    """`dev`: no authentication, loopback only; `prod`: every request needs a key, a token or a sign-in."""
    api_key: str | None = Field(default=None, min_length=MIN_KEY)
    """Static key; with one, every request carries it or a user's token, as a bearer token or `X-API-Key`."""
    admin_password: str | None = Field(default=None, min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)
    """Password of the user `admin`, who is added, or given this password, when the platform starts."""
    public_url: Site | None = None
    """Where browsers find the platform, for instance `https://tunesmith.example.org`; signing in by OpenID needs it."""
    oidc_client_id: str | None = None
    """What the OpenID provider calls this platform."""
    oidc_client_secret: str | None = None
    """Secret that the provider gave it; unset: a public client, which PKCE alone protects."""
    oidc_domains: tuple[str, ...] = ()
    """Domains of the e-mail addresses that may sign in, with commas between; `*`: whoever the provider lets in."""
    oidc_email_claim: str = "email"
    """Claim with the address. `email` must be a verified one; for any other the provider answers."""
    oidc_role: Role = "viewer"
    """Role in the workspace `main` of who signs in for the first time."""
    oidc_issuer: SafeUrl | None = None
    """OpenID provider that people sign in with, for instance `https://auth.globus.org`; unset: there is no `/login`."""
    jwt_issuers: tuple[JwtIssuer, ...] = ()
    """Whose JWTs are accepted (JSON list): [{"issuer": ..., "audience": ..., "algorithms": ["RS256"], "role": ...}]."""
    container: bool = False
    """This process is in a container whose ports the host publishes on loopback: `dev` may then listen on all."""
    api_replicas: int | None = Field(default=None, ge=1, le=1000)
    """Processes that answer requests; unset: 2 on two cores or more, else 1."""
    ray_address: str | None = None
    """Ray cluster to join (also `RAY_ADDRESS`); unset: `tunesmith up` starts one on this machine."""
    num_cpus: int | None = Field(default=None, ge=1)
    """CPU slots of the Ray that `tunesmith up` starts; unset: the machine's cores."""
    object_store_bytes: int = Field(default=200_000_000, ge=80_000_000)
    """Shared memory for Ray's object store, in bytes."""
    dashboard: bool = True
    """Whether the Ray that `tunesmith up` starts has its dashboard (some 200 MB)."""
    dashboard_host: str = "127.0.0.1"
    """Address that the dashboard listens on; whoever reaches it, and has Ray's token, can run commands."""
    max_running_jobs: int = Field(default=20, ge=1)
    """Jobs that run at once; the others wait in the queue."""
    lease_s: float = Field(default=8.0, ge=1)
    """Seconds until a job whose runner went silent is taken up again."""
    warm_workers: int = Field(default=2, ge=0)
    """Trial processes kept warm when idle, so that the next job starts at once (no more than the cluster has CPUs)."""
    worker_idle_s: float = Field(default=60.0, ge=0)
    """Seconds until an idle trial process beyond the warm ones ends and frees its node."""
    predict_idle_s: float = Field(default=600.0, gt=0, le=31_536_000)
    """Seconds until a trained model that nobody predicts with is unloaded; the next prediction loads it again."""
    max_body_bytes: int = Field(default=4_000_000, ge=1000)
    """Largest request body, in bytes."""
    max_upload_bytes: int = Field(default=2 * 1024**3, ge=1000)
    """Largest upload of data, in bytes; it goes to disk, not into memory."""
    plugins: tuple[str, ...] = ()
    """Plugins with algorithms, KPIs, schemas and models: `package.module:object`, with commas between."""
    runs_rate: str | None = "600/minute"
    """Runs of models that one principal may submit, for instance `10/second`; `none`: any number."""
    rate_reads: str | None = "6000/minute"
    """Requests that only read, by one principal, where somebody has to sign in; `none`: any number."""
    rate_writes: str | None = "1200/minute"
    """Other requests by one principal, where somebody has to sign in; `none`: any number."""
    rate_work: str | None = None
    """Asks, tells, reports and heartbeats of one principal's workers, likewise; unset: any number."""
    cors_origins: tuple[str, ...] = ()
    """Sites whose pages may use the API with a token, with commas between, for instance `https://example.org`."""
    tls_cert: Path | None = None
    """Certificate (PEM, with its chain) that the service listens with by TLS; unset: plain HTTP."""
    tls_key: Path | None = Field(default=None, validate_default=True)
    """Private key (PEM) of the certificate."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (CIDR, with commas between) of proxies before the service: whom they say they ask for is believed."""
    max_grid_points: int = Field(default=100_000, ge=1)
    """Largest grid that a job may ask for."""
    terminate_grace_s: float = Field(default=5.0, ge=0)
    """Seconds between TERM and KILL when a trial is stopped."""
    max_log_bytes: int = Field(default=50_000_000, ge=10_000)
    """Bytes of the output of a training job's attempt that are kept: the newest, and a little of the beginning."""
    container_engine: str | None = None
    """Container engine of the nodes, as a command with any options of its own; unset: podman or docker, as found."""
    container_options: tuple[str, ...] = ()
    """More options of the engine's `run` (JSON list), for instance `["--network=host"]`."""
    container_pull: Literal["missing", "always", "never"] = "missing"
    """When a node fetches an image: when it has none, always, or never."""
    registry_auth_file: Path | None = None
    """File on the nodes with the credentials of registries: what `podman login` or `docker login` writes."""
    prices: Mapping[str, float] = {}
    """Price of a node per hour by instance type (JSON object), `*` for any other: what trials cost is kept then."""
    node_types: tuple[str, ...] = ()
    """Instance types that the cluster can start (JSON list), besides those that it has."""
    channels: Mapping[ChannelName, Channel] = {}
    """Where notifications can go (JSON object): name -> apprise URL, or {"url": ..., "secret": ...}."""
    notify: tuple[Rule, ...] = ()
    """Who is told of the status of all training jobs (JSON list): [{"channel": "slack", "on": ["failed"]}]."""
    webhook_secret: str | None = Field(default=None, min_length=16)
    """Signs what webhooks get that have no secret of their own."""
    allow_private_addresses: bool | None = None
    """Whether webhooks that requests name may lead to this machine and private networks; unset: in `dev` only."""
    secret_backend: Literal["database", "aws"] = "database"
    """Where secrets of jobs are kept: encrypted in the `database`, or in AWS Secrets Manager (`aws`)."""
    secret_key: str | None = Field(default=None, min_length=MIN_SECRET_KEY)
    """Key that they are encrypted with, 32 random characters or more; several with commas: the first one encrypts."""
    secret_key_file: Path | None = None
    """File with such keys, one on each line; unset, and no key either: one that is made in the data directory."""
    secret_prefix: str = Field(default="tunesmith", pattern=r"^[A-Za-z0-9/_+=.@-]{1,200}$")
    """`aws`: what the names of the secrets there begin with; the workspace and the secret's own name follow."""
    trial_user: str | None = Field(default=None, min_length=1, max_length=100)
    """Unix user of the nodes that commands and programs of trials run as; the platform runs as root then."""
    trial_sandbox: Literal["none", "bwrap"] = "none"
    """`bwrap`: commands and programs of trials see no network, and write to their own directory only."""
    retention_executions_days: float | None = Field(default=None, gt=0)
    """Days that executions of training jobs are kept after they ended, with their logs and files; unset: for ever."""
    retention_logs_days: float | None = Field(default=None, gt=0)
    """Days that the logs of their executions are kept; unset: as long as the executions."""
    retention_events_days: float | None = Field(default=None, gt=0)
    """Days that the events of jobs are kept after these ended; unset: for ever."""
    archive: bool = True
    """Whether executions are written to a Parquet file in the storage before they are removed."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much the server's own log says."""

    @field_validator("channels", mode="before")
    @classmethod
    def _plain_urls(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: {"url": value} if isinstance(value, str) else value for name, value in given.items()}

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, given: str | None) -> str | None:
        if given is not None and min(len(key.strip()) for key in given.split(",")) < MIN_SECRET_KEY:
            raise ValueError(f"each key has {MIN_SECRET_KEY} characters or more")
        return given

    @field_validator("plugins")
    @classmethod
    def _references(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for reference in given:
            if not REFERENCE.fullmatch(reference):
                raise ValueError(f"{reference!r} names no plugin; write package.module:object")
        return given

    @field_validator("oidc_domains")
    @classmethod
    def _lower(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(domain.lower().removeprefix("@") for domain in given)

    @field_validator("oidc_issuer")
    @classmethod
    def _with_what_it_needs(cls, given: str | None, info: ValidationInfo) -> str | None:
        for name in ("oidc_client_id", "oidc_domains", "public_url"):
            if given is not None and not info.data.get(name):
                raise ValueError(f"signing in needs {PREFIX}{name.upper()} too")
        return given

    @field_validator("jwt_issuers")
    @classmethod
    def _each_once(cls, given: tuple[JwtIssuer, ...]) -> tuple[JwtIssuer, ...]:
        if len({each.issuer for each in given}) < len(given):
            raise ValueError("each issuer may stand there once")
        return given

    @field_validator(*RATES)
    @classmethod
    def _a_rate(cls, given: str | None) -> str | None:
        from limits import parse  # a part of a second, which most settings do without

        if given is None or given == NO_RATE:
            return None
        try:
            parse(given)
        except ValueError as error:
            raise ValueError("it is no rate; write for instance 10/second, 600/minute or 5000/hour") from error
        return given

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for network in given:
            ip_network(network)
        return given

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for origin in given:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; write https://host or https://host:port")
        return given

    @field_validator("tls_key")
    @classmethod
    def _with_its_certificate(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        if (given is None) != (info.data.get("tls_cert") is None):
            raise ValueError("TUNESMITH_TLS_CERT and TUNESMITH_TLS_KEY go together")
        return given

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir.absolute() / 'tunesmith.db'}"
        for plain in ("postgresql://", "postgres://"):
            if self.database_url.startswith(plain):
                return "postgresql+psycopg://" + self.database_url.removeprefix(plain)
        return self.database_url

    @property
    def embedded(self) -> bool:
        """Whether the database is a file of this machine."""
        return self.database.startswith("sqlite")

    @property
    def artifacts(self) -> str:
        """The storage in force: an absolute directory or an `s3://` URL."""
        if self.storage is None:
            return str(self.data_dir.absolute() / "artifacts")
        return self.storage if "://" in self.storage else str(Path(self.storage).absolute())

    @property
    def training_root(self) -> Path:
        """The directory in force that trainings read files from, absolute."""
        return (self.training_data or self.data_dir / "training").absolute()

    @property
    def private_addresses(self) -> bool:
        """Whether what requests name may lead to this machine and private networks."""
        return self.mode == "dev" if self.allow_private_addresses is None else self.allow_private_addresses

    @property
    def run_file(self) -> Path:
        """Where a running platform says its process id, addresses and ports."""
        return self.data_dir.absolute() / "run.json"

    @property
    def replicas(self) -> int:
        """API replicas in force."""
        return self.api_replicas or (2 if (os.cpu_count() or 1) > 1 else 1)

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, to hand them to another process."""
        values = self.model_dump(mode="json", exclude_unset=True)
        values["data_dir"] = str(self.data_dir.absolute())
        if self.storage is not None:
            values["storage"] = self.artifacts
        if self.training_data is not None:
            values["training_data"] = str(self.training_root)
        if self.secret_key_file is not None:
            values["secret_key_file"] = str(self.secret_key_file.absolute())
        values |= {name: NO_RATE for name in RATES if name in values and values[name] is None}
        values |= {name: str(path.absolute()) for name in ("tls_cert", "tls_key") if (path := getattr(self, name))}
        return {PREFIX + name.upper(): _as_variable(value) for name, value in values.items() if value is not None}


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings. Raises InvalidSettings that names the variable, its value and the nearest known name."""
    environ = os.environ if environ is None else environ
    _refuse_unknown(environ)
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        if (raw := environ.get(PREFIX + name.upper())) not in (None, ""):
            values[name] = _split(name, raw) if name in LISTS else _object(name, raw) if name in OBJECTS else raw
    if "ray_address" not in values and environ.get("RAY_ADDRESS"):
        values["ray_address"] = environ["RAY_ADDRESS"]
    _add_static_key(values, environ)
    _add_well_known(values, well_known_channels(environ))
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        shown = "..." if first["loc"][0] in SECRET else repr(first["input"])
        where = "".join(f"{part}: " for part in first["loc"][1:])
        raise InvalidSettings(
            f"{name}={shown}: {where}{first['msg'].removeprefix('Value error, ')}", variable=name
        ) from None


def secret_token() -> str:
    """A fresh secret, 256 bits in hexadecimal."""
    return secrets.token_hex(32)


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = [PREFIX + name.upper() for name in Settings.model_fields] + [PREFIX + name for name in TRIAL_VARIABLES]
    known += [PREFIX + name for name in ("URL", "WORKSPACE")]  # the client's
    for name in environ:
        if name.startswith(PREFIX) and name not in known and not name.startswith(PREFIX + "PARAM_"):
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `tunesmith settings` lists them all"
            raise InvalidSettings(f"{name} is no setting{hint}", variable=name)


def _add_static_key(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """`ENABLE_API_AUTH=true` with `API_KEY`: the static key, under the names that other services know it by."""
    wanted = environ.get("ENABLE_API_AUTH", "").strip().lower()
    if wanted in ("", "false", "0", "no"):
        return
    if wanted not in ("true", "1", "yes"):
        raise InvalidSettings(f"ENABLE_API_AUTH={wanted!r}: write true or false", variable="ENABLE_API_AUTH")
    key = values.get("api_key") or environ.get("API_KEY", "")
    if len(key) < MIN_KEY:
        raise InvalidSettings(
            f"ENABLE_API_AUTH=true needs API_KEY, a secret of at least {MIN_KEY} characters", variable="API_KEY"
        )
    values["api_key"] = key


def _add_well_known(values: dict[str, Any], channels: Mapping[str, str]) -> None:
    """Add channels that other variables make, each told of every status unless a rule says more about it."""
    known, rules = values.get("channels", {}), values.get("notify", [])
    if not channels or not isinstance(known, dict) or not isinstance(rules, list):
        return  # what is no object or list is refused when the settings are made
    ruled = [rule.get("channel") for rule in rules if isinstance(rule, dict)]
    more = [{"channel": name, "on": STATUSES} for name in channels if name not in ruled]
    values |= {"channels": {**channels, **known}, "notify": [*rules, *more]}


def _split(name: str, raw: str) -> Any:
    if not raw.startswith("["):
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    try:
        return json.loads(raw)
    except ValueError as error:
        variable = PREFIX + name.upper()
        raise InvalidSettings(f"{variable}={raw!r} is no JSON list: {error}", variable=variable) from error


def _object(name: str, raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        variable = PREFIX + name.upper()
        shown = "..." if name in SECRET else repr(raw)
        raise InvalidSettings(
            f"{variable}={shown} is no JSON: {error}; write {OBJECTS[name]}", variable=variable
        ) from error


def _as_variable(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
