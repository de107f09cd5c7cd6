"""Django settings of the SBE Enabler. They depend on environment variables only.

docs/configuration.md describes every variable. Durations are in seconds.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from conferences.machine import ConferenceState, ModificationState, ParticipantState
from events.states import SessionState
from sbe_enabler.env import Environment
from sbe_enabler.firstrun import BASE_DIR, state_directory
from sbe_enabler.sqlite.checkpoints import LOG_PAGES

env = Environment(os.environ)

STATE_DIR = state_directory(env)

DEBUG = env.boolean("SBE_DEBUG", default=False)


SECRET_KEY_MIN_LENGTH = 50


def _secret_key() -> str:
    """Return SBE_SECRET_KEY, or the key that `quickstart` wrote to the state directory."""
    if key := env.string("SBE_SECRET_KEY"):
        if len(key) < SECRET_KEY_MIN_LENGTH:
            raise ImproperlyConfigured(f"SBE_SECRET_KEY must have at least {SECRET_KEY_MIN_LENGTH} random characters.")
        return key
    path = STATE_DIR / "secret_key"
    if path.is_file():
        return path.read_text().strip()
    raise ImproperlyConfigured(f"SBE_SECRET_KEY is not set and {path} does not exist: `make run` writes it.")


SECRET_KEY = _secret_key()
ALLOWED_HOSTS = env.words_matching(
    "SBE_ALLOWED_HOSTS",
    r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\]",
    "enabler.example.org",
    ("127.0.0.1", "localhost", "[::1]"),
)

INSTALLED_APPS = [
    "sbe_enabler.desk.SupportDeskConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "rest_framework",
    "rest_framework_api_key",
    "drf_spectacular",
    "axes",
    "sbe_enabler",
    "events",
    "conferences",
    "media",
]

MIDDLEWARE = [
    "sbe_enabler.middleware.correlate",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "sbe_enabler.urls"
CSRF_FAILURE_VIEW = "sbe_enabler.urls.unsafe_method"
ASGI_APPLICATION = "sbe_enabler.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database: SQLite in the state directory, or PostgreSQL ---------------------------------------------------

DATABASES: dict[str, dict[str, Any]]
# How long a statement may take on PostgreSQL. `migrate` removes this limit.
DATABASE_SECONDS = env.number("SBE_DATABASE_SECONDS", 5, least=1, most=300)
if _postgres := env.database("DATABASE_URL"):
    _given = _postgres.pop("OPTIONS")
    _limits = {
        "statement_timeout": DATABASE_SECONDS,
        "lock_timeout": min(DATABASE_SECONDS, 3),
        "idle_in_transaction_session_timeout": 2 * DATABASE_SECONDS,
    }
    _options = [f"-c {name}={seconds * 1000:.0f}" for name, seconds in _limits.items()]
    DATABASES = {
        "default": {
            "ENGINE": "sbe_enabler.postgresql",
            **_postgres,
            "CONN_MAX_AGE": 600,
            "CONN_HEALTH_CHECKS": True,
            # Plan each statement only once per connection, which saves PostgreSQL a third of its work.
            "OPTIONS": {
                "server_side_binding": True,
                "prepare_threshold": 5,
                "connect_timeout": 2,
                **_given,
                "limit": DATABASE_SECONDS,
                # PostgreSQL uses the last of repeated options, so options in DATABASE_URL override the limits.
                "options": " ".join([*_options, _given.get("options", "")]).strip(),
            },
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "sbe_enabler.sqlite",
            "NAME": STATE_DIR / "db.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # Take the write lock at the beginning, so that nothing changes between a transaction's reads and
                # writes.
                "transaction_mode": "IMMEDIATE",
                # Build no automatic indexes, for which SQLite would read the whole table at each statement.
                "init_command": (
                    "PRAGMA journal_mode=wal; PRAGMA synchronous=normal; PRAGMA automatic_index=off;"
                    f"PRAGMA wal_autocheckpoint={LOG_PAGES}"
                ),
                "timeout": 10,
            },
            # Use a file: with a database in memory, a test's threads would share one connection and its locks.
            "TEST": {"NAME": STATE_DIR / "test.sqlite3"},
        }
    }
# How many threads of a process use the database. Each keeps one connection open.
DATABASE_THREADS = env.integer("SBE_DATABASE_THREADS", 4, least=1, most=64)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Channel layer: in memory, or Redis -------------------------------------------------------------------

REDIS_URL = env.url("REDIS_URL", schemes=("redis", "rediss"))
if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        }
    }
else:
    # A process has one channel for all its readers. If the channel is full, messages are lost, and the readers read the
    # log.
    CHANNEL_LAYERS = {"default": {"BACKEND": "events.layer.ProcessChannelLayer", "CONFIG": {"capacity": 10_000}}}
# A cache in each process. If REDIS_URL is set, requests are counted in Redis instead (events/counters.py).
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    # Failed logins have their own cache, so that a flood of failed logins cannot evict other counters.
    "attempts": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "attempts",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
}

# --- REST -------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["events.authentication.PrincipalAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["conferences.parsers.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["events.throttles.PrincipalThrottle"],
    "EXCEPTION_HANDLER": "events.problems.handle_exception",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "SBE Enabler",
    "DESCRIPTION": "Ongoing WebRTC conference sessions: answer, modify, hold, resume, move between devices.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        f"{name}State": [(state.value, state.value) for state in states]
        for name, states in (
            ("Session", SessionState),
            ("Conference", ConferenceState),
            ("Participant", ParticipantState),
            ("Modification", ModificationState),
        )
    },
}

# Other origins whose pages may call the REST API and open the event channel. The enabler's own pages may always do so.
ALLOWED_ORIGINS = env.words_matching("SBE_ALLOWED_ORIGINS", r"https?://[^\s/?#]+", "https://app.example.org")
CORS_ALLOWED_ORIGINS = ALLOWED_ORIGINS
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "last-event-id",
    "x-conference-action",
    "x-correlator",
    "x-mod-id",
    "x-session-id",
]
CORS_EXPOSE_HEADERS = ["etag", "location", "retry-after", "x-correlator", "x-mod-id", "x-state"]
CORS_ALLOW_METHODS = ["DELETE", "GET", "OPTIONS", "POST", "PUT"]

# --- The enabler ------------------------------------------------------------------------------------------

SESSION_LIFETIME = timedelta(seconds=env.number("SBE_SESSION_SECONDS", 300, least=1, most=30 * 86400))
AWAY_AFTER = timedelta(seconds=env.number("SBE_AWAY_SECONDS", 10, least=0.1, most=300))
AWAY_LIFETIME = timedelta(seconds=env.number("SBE_AWAY_SESSION_SECONDS", 60, least=1, most=30 * 86400))
RING_DURATION = timedelta(seconds=env.number("SBE_RING_SECONDS", 30, least=0.1, most=600))
MODIFICATION_LIFETIME = timedelta(seconds=env.number("SBE_MODIFICATION_SECONDS", 30, least=0.1, most=600))
MOVE_WINDOW = timedelta(seconds=env.number("SBE_MOVE_WINDOW_SECONDS", 5, least=0.1, most=60))
EVENT_RETENTION = timedelta(seconds=env.number("SBE_EVENT_RETENTION_SECONDS", 86400, least=1, most=365 * 86400))
QUALITY_RETENTION = timedelta(days=env.number("SBE_QUALITY_RETENTION_DAYS", 7, least=0.01, most=36500))
RECORD_RETENTION = timedelta(days=env.number("SBE_RECORD_RETENTION_DAYS", 365, least=1, most=36500))
# One core could not forward the media of a larger conference.
CONFERENCE_CAPACITY = env.integer("SBE_CONFERENCE_CAPACITY", 32, least=2, most=40)
# A media node that is silent for this long gets no new conference, and other nodes take over its conferences.
MEDIA_NODE_PATIENCE = timedelta(seconds=env.number("SBE_MEDIA_NODE_SECONDS", 5, least=0.1, most=300))
HEARTBEAT_SECONDS = env.number("SBE_HEARTBEAT_SECONDS", 15, least=0.05, most=300)
# How many connections one client may have, and how long a client may take to send a request or to read a response.
CONNECTIONS_PER_ADDRESS = env.integer("SBE_CONNECTIONS_PER_ADDRESS", 256, least=1)
REQUEST_SECONDS = env.number("SBE_REQUEST_SECONDS", 30, least=0.1, most=3600)
REQUESTS_PER_MINUTE = env.integer("SBE_REQUESTS_PER_MINUTE", 600, least=1)
UNKNOWN_TOKENS_PER_MINUTE = env.integer("SBE_UNKNOWN_TOKENS_PER_MINUTE", 120, least=1)
COUNTER_PREFIX = "sbe.count."
GATEWAY_REQUESTS_PER_MINUTE = env.integer("SBE_GATEWAY_REQUESTS_PER_MINUTE", 60000, least=1)
# Quotas of one user or session.
SESSIONS_PER_IDENTITY = env.integer("SBE_SESSIONS_PER_IDENTITY", 32, least=1)
READERS_PER_SESSION = env.integer("SBE_READERS_PER_SESSION", 4, least=1)
CONFERENCES_PER_SESSION = env.integer("SBE_CONFERENCES_PER_SESSION", 20, least=1)
INVITATIONS_PER_CALLER = env.integer("SBE_INVITATIONS_PER_CALLER", 64, least=1)
INVITATIONS_PER_CALLEE = env.integer("SBE_INVITATIONS_PER_CALLEE", 16, least=1)
INVITATIONS_PER_PAIR = env.integer("SBE_INVITATIONS_PER_PAIR", 4, least=1)
OFFERS_PER_MINUTE = env.integer("SBE_OFFERS_PER_MINUTE", 30, least=1)
CHANGES_PER_MINUTE = env.integer("SBE_CHANGES_PER_MINUTE", 120, least=1)
# This is enough for a host to mute 40 participants one by one.
CHANGES_AT_ONCE = env.integer("SBE_CHANGES_AT_ONCE", 40, least=1)
# Knocks at a locked conference: how long one waits, and the knocks of one user and at one conference in a minute.
KNOCK_DURATION = timedelta(seconds=env.number("SBE_KNOCK_SECONDS", 60, least=0.1, most=600))
KNOCKS_PER_USER = env.integer("SBE_KNOCKS_PER_USER", 6, least=1)
KNOCKS_PER_CONFERENCE = env.integer("SBE_KNOCKS_PER_CONFERENCE", 20, least=1)
SEATS_PER_USER = env.integer("SBE_SEATS_PER_USER", 4, least=1)
SDP_CHARACTERS_PER_MINUTE = env.integer("SBE_SDP_CHARACTERS_PER_MINUTE", 8 * 1024 * 1024, least=1)
# Log requests that take longer than this, and where they waited. With 0, no request is logged.
SLOW_REQUEST_SECONDS = env.number("SBE_SLOW_REQUEST_SECONDS", 0, most=300)
TIMEKEEPER = env.boolean("SBE_TIMEKEEPER", default=True)

# --- Logins at the support desk ---------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# The failed logins, per process, after which an address or an account is locked.
AXES_FAILURE_LIMIT = env.integer("SBE_LOGIN_FAILURES", 10, least=1)
AXES_COOLOFF_TIME = timedelta(seconds=env.number("SBE_LOGIN_LOCK_SECONDS", 300, least=1, most=86400))
AXES_LOCKOUT_PARAMETERS = "sbe_enabler.desk.lockout_parameters"
AXES_LOCKOUT_CALLABLE = "sbe_enabler.desk.refuse_login"
AXES_CLIENT_IP_CALLABLE = "sbe_enabler.desk.client_network"
AXES_HANDLER = "axes.handlers.cache.AxesCacheHandler"
AXES_CACHE = "attempts"
AXES_RESET_ON_SUCCESS = True
# Failed logins during a lock do not extend it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# axes.W001 warns that axes needs a cache that all processes share. Here each process counts its own failed logins.
SILENCED_SYSTEM_CHECKS = ["axes.W001"]

# --- Media: the focus ---------------------------------------------------------------------------------------

# Whether the web process runs a media node. `manage.py medianode` runs one in its own process.
MEDIA_NODE = env.boolean("SBE_MEDIA_NODE", default=True)
MEDIA_BIND = env.address("MEDIA_BIND", "127.0.0.1")
MEDIA_PORT = env.integer("MEDIA_PORT", 0, most=65535)
# The TCP port for browsers whose networks block UDP. 0 means none.
MEDIA_TCP_PORT = env.integer("MEDIA_TCP_PORT", 0, most=65535)
# The addresses at which browsers reach the node, if they differ from MEDIA_BIND.
MEDIA_ANNOUNCE = env.addresses("MEDIA_ANNOUNCE")
# Whether to forward packets on the fast path if it is compiled.
MEDIA_FAST_PATH = env.boolean("MEDIA_FAST_PATH", default=True)

# URIs as in RFC 7064 (STUN) and RFC 7065 (TURN).
STUN_URLS = env.words_matching("STUN_URLS", r"stuns?:[^\s/?#@]+", "stun:stun.example.org:3478")
TURN_URLS = env.words_matching(
    "TURN_URLS", r"turns?:[^\s/?#@]+(\?transport=(udp|tcp))?", "turn:turn.example.org?transport=udp"
)
TURN_SECRET = env.string("TURN_SECRET")
if TURN_URLS and not TURN_SECRET:
    raise ImproperlyConfigured("TURN_SECRET is missing: TURN_URLS needs the secret shared with the TURN servers.")

# --- The Dev Server behind the test page, an ordinary client of the enabler ---------------------------

# The Dev Server lets anyone register as any user, so it is off by default. Only `quickstart` switches it on.
DEV_SERVER = env.boolean("SBE_DEV_SERVER", default=False)
SBE_ENABLER_URL = env.url("SBE_ENABLER_URL", schemes=("http", "https"))
SBE_API_KEY = env.string("SBE_API_KEY")
# The file to which `quickstart` writes an API key. The Dev Server uses it if SBE_API_KEY is unset.
DEMO_KEY_FILE = STATE_DIR / "demo_api_key"

# --- Static files, language, security ---------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.string("SBE_STATIC_DIR", str(STATE_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "sbe_enabler.staticfiles.HashedStaticFilesStorage"},
}

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["sbe_enabler.formats"]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# With a certificate, the process serves HTTPS itself. Otherwise a gateway may terminate TLS.
TLS_CERTIFICATE = env.string("SBE_TLS_CERTIFICATE")
TLS_KEY = env.string("SBE_TLS_KEY")
if bool(TLS_CERTIFICATE) != bool(TLS_KEY):
    raise ImproperlyConfigured("Set both SBE_TLS_CERTIFICATE and SBE_TLS_KEY, or neither.")
TLS = env.boolean("SBE_TLS", default=bool(TLS_CERTIFICATE))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TLS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
# Behind a gateway, the host and scheme that clients use are in its X-Forwarded headers.
USE_X_FORWARDED_HOST = env.boolean("SBE_BEHIND_GATEWAY", default=False)
if USE_X_FORWARDED_HOST:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"

_LOG_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.one_of("SBE_LOG_LEVEL", "INFO", _LOG_LEVELS)},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        # Refusals are normal responses, but Django would log each one as a warning.
        "django.request": {"level": "ERROR"},
        # With the level ERROR, any client could fill the log: each request with a wrong host or too many parameters
        # would add a traceback.
        "django.security": {"level": "CRITICAL"},
        "daphne": {"level": "WARNING"},
        "twisted": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
