//! The texts of `carillon --help` and of the help of its commands.

pub(crate) const ABOUT: &str = "Run Carillon on this machine: real-time notifications behind a local API Gateway";

pub(crate) const LONG_ABOUT: &str = "\
Run Carillon on this machine: real-time notifications behind a local API Gateway.

Without a command, carillon serves everything on one port until Ctrl-C: the HTTP
API, the WebSocket API with its management API, and the schedules. The functions
run in this process and keep their data in SQLite and in memory, so there is
nothing else to install.";

pub(crate) const AFTER_LONG_HELP: &str = "\
Environment:
  DATABASE_URL   postgres://... for a Postgres server, sqlite://PATH for another SQLite file
  REDIS_URL      redis://... for a Redis server instead of memory
  REDIS_URLS     Several of them, with commas between, which take over from each other
  JWT_SECRET     Secret that signs tokens (default: generated in the data folder)
  JWT_JWKS_URL   Keys of an identity provider, which then signs tokens instead of carillon;
                 needs JWT_ISSUER and JWT_AUDIENCE
  VAPID_PUBLIC_KEY, VAPID_PRIVATE_KEY, VAPID_SUBJECT
                 Keys for Web Push, see `carillon vapid` (default: generated in the data folder)
  RUST_LOG       Log messages to print to standard error (default: info)

A variable whose value is secret may be the ARN of a secret in AWS Secrets Manager instead,
with #MEMBER for a member of its JSON.

Examples:
  carillon                            Serve on http://127.0.0.1:3000
  carillon --port 0                   Serve on a free port; the last line of output names it
  carillon --lambda spawn             Run the functions in processes of their own, as Lambda does,
                                      on the servers of DATABASE_URL and REDIS_URL
  carillon listen --sub alice         Print what arrives for alice
  carillon token --sub shop --scope notify:send
                                      Sign a token that may send notifications
  carillon doctor                     Say what is wrong, and what to do";

pub(crate) const LISTEN_LONG_ABOUT: &str = "\
Open a WebSocket as a user and print every frame that arrives, one per line.

Gets a token and a ticket from a local gateway that is already running, and
listens until the socket is closed or Ctrl-C is pressed.";

pub(crate) const LISTEN_EXAMPLE: &str = "\
Example:
  carillon listen --sub alice";

pub(crate) const TOKEN_LONG_ABOUT: &str = "\
Sign a token (a JWT) for trying out the API, and print it.

The token is signed with JWT_SECRET if it is set, otherwise with the secret in the
data folder, which the first start of carillon generates. With JWT_JWKS_URL, only the
identity provider can sign tokens.";

pub(crate) const TOKEN_EXAMPLES: &str = "\
Examples:
  carillon token --sub shop --scope notify:send
  curl -H \"Authorization: Bearer $(carillon token --sub alice)\" \\
    http://127.0.0.1:3000/api/notifications";

pub(crate) const VAPID_LONG_ABOUT: &str = "\
Make a pair of keys for Web Push (VAPID), and print the three variables of a deployment.

Browsers subscribe with the public key, so a deployment keeps its keys for ever. Push
services may write to the subject about a deployment that causes them trouble.";

pub(crate) const VAPID_EXAMPLE: &str = "\
Example:
  carillon vapid --subject mailto:ops@example.org";

pub(crate) const MIGRATE_LONG_ABOUT: &str = "\
Apply the migrations that the Postgres database at DATABASE_URL does not have yet,
and print the version of the last one. A database that is up to date is left unchanged.

FUNCTIONS_DATABASE_URL is the URL by which the functions reach the database, with a role of
their own. If it is set, that role is created, or given the password of the URL, and gets
the rights of migrations/roles.sql: it may read and change rows, and nothing else.";

pub(crate) const MIGRATE_EXAMPLE: &str = "\
Example:
  DATABASE_URL=postgres://user:password@host/database carillon migrate";

pub(crate) const EPOCH_LONG_ABOUT: &str = "\
Renew the epoch of a database that was restored from a backup.

Such a database gives offsets a second time, so a cursor of before could be taken for one
of its own, and a client would miss what came in between. With another epoch, every cursor
of before is answered with 410 cursor_expired, and clients fetch everything anew.

The database is that of DATABASE_URL, or the SQLite file in the data folder, which no
gateway may have open. Postgres is renewed in one transaction while functions run: what
writes to an inbox waits meanwhile. The schema must be up to date.";

pub(crate) const EPOCH_EXAMPLE: &str = "\
Example:
  DATABASE_URL=postgres://user:password@host/database carillon epoch renew";

pub(crate) const DOCTOR_LONG_ABOUT: &str = "\
Read the configuration from the environment, reach what it names, and say what is wrong
and what to do: variables that are missing, malformed, misspelt or weak; secrets that cannot
be read; the database, its migrations and the rights of the role; Redis, its eviction policy
and persistence; clocks; the keys of the identity provider; whether sockets can be pushed to.
Changes nothing, and prints no secret.

Without variables it examines the data folder of a local gateway. In a deployment, the
function drain answers the event {\"doctor\": true} with the same findings.

The exit status is 0 if there is no problem, 1 if there is one, and 78 if a start would
refuse the variables.";

pub(crate) const DOCTOR_EXAMPLES: &str = "\
Examples:
  carillon doctor
  ENV=production DATABASE_URL=... REDIS_URL=... carillon doctor --json";

pub(crate) const WHY_LONG_ABOUT: &str = "\
Tell what became of a notification: when it was accepted, which connections it was pushed
to, whether it was read, and what to do if it has not arrived.

CARILLON_TOKEN is a token with the scope notify:admin, or of the recipient. Without it, a
local gateway signs one.";

pub(crate) const WHY_EXAMPLES: &str = "\
Examples:
  carillon why d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1 --user alice
  CARILLON_TOKEN=... carillon why d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1 --url https://api.example.com";

pub(crate) const KEYS_LONG_ABOUT: &str = "\
List the Redis keys that concern a user or a chat, with their type, lifetime and content.
Keys are hashes, so they cannot be found by hand.

Redis is that of REDIS_URL, REDIS_URLS or REDIS_HOST, with REDIS_CLUSTER and
REDIS_KEY_PREFIX. Changes nothing.";

pub(crate) const KEYS_EXAMPLES: &str = "\
Examples:
  carillon keys --user alice --type ORDER_SHIPPED
  carillon keys --chat d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1";
