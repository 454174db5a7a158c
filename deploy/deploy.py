"""Deploys Carillon to AWS: `make deploy SIZE=small`. docs/deploying.md describes each step.

The order makes every step safe for the functions that are still running: data, migrate, which also makes the functions'
role in the database, the functions, a domain, alarms, a dashboard. A step that changes nothing takes seconds, so running it
again after a failure is always right. A secret is never passed on: the functions get its name, and read it by themselves.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import boto3
import tomlkit
from botocore.config import Config
from samcli.yamlhelper import yaml_dump, yaml_parse

ROOT = Path(__file__).resolve().parent.parent
BUNDLES = ROOT / "target/lambda/arm64"
# The parameters of deploy/data.yaml that create a store, and those of the others that are its URLs.
STORES = {
    "Database": ("DatabaseUrl", "MigrateDatabaseUrl", "FunctionsDatabaseUrl"),
    "Redis": ("RedisUrl", "RedisUrls"),
}
TEMPLATES = {
    "data": ROOT / "deploy/data.yaml",
    "migrate": ROOT / "migrate.yaml",
    "app": ROOT / "template.yaml",
    "edge": ROOT / "deploy/edge.yaml",
    "alarms": ROOT / "deploy/alarms.yaml",
    "dashboard": ROOT / "deploy/dashboard.yaml",
}
# Parameters of deploy/data.yaml.
RESTORE = ("RestoreSnapshot", "RestoreFrom", "RestoreTime")


class Refused(Exception):
    """Why nothing, or nothing more, is deployed, and what to do."""


def main():
    arguments = argparse.ArgumentParser(description="Deploys Carillon to AWS.")
    arguments.add_argument("size", choices=["small", "medium", "large"])
    arguments.add_argument("--settings", type=Path, default=ROOT / "deploy/settings.toml")
    arguments = arguments.parse_args()
    try:
        Deployment(arguments.size, arguments.settings).run()
    except Refused as refused:
        sys.exit(f"not deployed: {refused}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"not deployed: {' '.join(map(str, error.cmd[:2]))} failed; its messages are above")


def parameters_of(template):
    """The parameters of a template, by name."""
    return yaml_parse(TEMPLATES[template].read_text()).get("Parameters", {})


def size_parameters(size, template):
    """What the file of a size says for a template."""
    config = tomlkit.parse((ROOT / f"deploy/{size}.toml").read_text())
    overrides = config.get(template, {}).get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
    return dict(override.split("=", 1) for override in overrides)


class Deployment:
    """One run. Tests replace `sam` and `bundles`."""

    def __init__(self, size, settings, sam=None, bundles=BUNDLES):
        if not settings.exists():
            raise Refused(f"{settings} is missing: copy deploy/settings.example.toml to it and fill it in")
        settings = tomlkit.parse(settings.read_text()).unwrap()
        self.size = size
        self.stack, self.region = settings.get("stack"), settings.get("region")
        if not self.stack or not self.region:
            raise Refused("the settings need a stack and a region")
        self.own = {name: text(value) for name, value in settings.get("parameters", {}).items()}
        self.bundles = bundles
        self.sam = sam or run_sam
        self.session = boto3.Session(region_name=self.region)
        self.refuse_unknown()
        self.refuse_contradictions()

    def run(self):
        self.refuse_without_bundles()
        self.refuse_without_concurrency()
        self.refuse_empty_database()
        # Parameters of the other stacks that outputs of the data stack give.
        data = self.deploy("data", self.values("data"))
        given = self.given(data)
        migrate = self.deploy("migrate", self.values("migrate", given))
        self.migrate(migrate["MigrateFunction"])
        app = self.deploy("app", self.values("app", {**self.urls(), **given}))
        if "Domain" in self.own:
            edge = self.deploy("edge", self.values("edge", app), region="us-east-1")
            print(f"domain: point {self.own['Domain']} to {edge['DistributionDomain']}, unless HostedZoneId is set")
        self.deploy("alarms", self.values("alarms", self.observed(data, app)))
        if self.values("app", complete=False)["MetricsNamespace"]:
            self.deploy("dashboard", self.values("dashboard", app))
        self.report(app)

    # ---- checks before anything is deployed ----

    def refuse_unknown(self):
        known = {name for template in TEMPLATES for name in parameters_of(template)}
        known |= {f"{name}Secret" for name in known}
        unknown = sorted(set(self.own) - known)
        if unknown:
            raise Refused(f"no template has the parameters {', '.join(unknown)}")
        plain = [name for name in self.own if self.is_secret(name)]
        if plain:
            raise Refused(f"secrets do not belong in the settings: set {', '.join(f'{name}Secret' for name in plain)}")

    def refuse_contradictions(self):
        if "Domain" in self.own and {"SocketUrl", "EventsUrl"} & set(self.own):
            raise Refused("Domain decides SocketUrl and EventsUrl: set it, or them")
        data, app = self.chosen("data"), self.chosen("app")
        for store, urls in STORES.items():
            # Functions would use one store, while migrations, alarms and the bill go on with the other.
            named = ", ".join(f"{url}Secret" for url in urls if f"{url}Secret" in self.own)
            if named and data[store] != "none":
                created = f'{store} = "{data[store]}"'
                raise Refused(f'{created} creates one beside that of {named}: set {store} = "none", or remove {named}')

        # The threshold of a size is for its own database. With a smaller one, connections run out before they reach it.
        decides = "AuroraMaxCapacity" if data["Database"] == "aurora" else "Database"
        is_other = data["Database"] != "none" and data[decides] != size_parameters(self.size, "data")[decides]
        if is_other and "MaxDatabaseConnections" not in self.own:
            raise Refused(
                f'MaxDatabaseConnections of {self.size} does not fit {decides} = "{data[decides]}": set it to four fifths of '
                "the max_connections of the database; docs/deploying.md has examples"
            )

        lease_ms, ping_every_ms = app["PresenceLeaseMs"], app["PingEveryMs"]
        if int(lease_ms) <= int(ping_every_ms):
            raise Refused(
                f"PresenceLeaseMs ({lease_ms}) must be longer than PingEveryMs ({ping_every_ms}): every user would go offline "
                "between two pings"
            )

    def is_secret(self, name):
        return any(parameters_of(template).get(name, {}).get("NoEcho") for template in TEMPLATES)

    def refuse_without_bundles(self):
        names = [*functions_of("migrate"), *functions_of("app")]
        missing = [name for name in names if not (self.bundles / name / "bootstrap.zip").exists()]
        if missing:
            raise Refused(f"run make build ARGS=arm64 first: {', '.join(missing)} are not built")

    def refuse_without_concurrency(self):
        """Accounts begin with as few as 10 concurrent executions, of which none can be reserved."""
        values = self.chosen("app")
        reserved = sum(int(values[name]) for name in ("MaxStreams", "MaxDrains"))
        limit = self.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
        # AWS keeps 100 for functions that reserve nothing.
        if limit < reserved + 100:
            raise Refused(
                f"this account allows {limit} concurrent executions, and {reserved + 100} are needed; ask for more with: "
                "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 "
                f"--desired-value {max(1000, 2 * reserved)} --region {self.region}"
            )

    def refuse_empty_database(self):
        """CloudFormation creates an empty database when the parameters of a restore are taken away or changed back."""
        client = self.client("cloudformation")
        try:
            stack = client.describe_stacks(StackName=f"{self.stack}-data")["Stacks"][0]
        except client.exceptions.ClientError:
            return
        present = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
        restored = {name: present[name] for name in RESTORE if present.get(name)}
        if restored and not any(self.own.get(name) for name in RESTORE):
            lines = ", ".join(f'{name} = "{value}"' for name, value in restored.items())
            raise Refused(f"the database was restored, and without these settings it would be empty: {lines}")

    # ---- parameters ----

    def values(self, template, given=None, complete=True):
        """The parameters of a template: what the size says, what other stacks give, and what the settings say."""
        declared = parameters_of(template)
        # Deployments of one account have metrics and a dashboard each. Dashboards are of no region.
        named = {"MetricsNamespace": self.stack, "DashboardName": f"{self.stack}-{self.region}"}
        values = {**named, **size_parameters(self.size, template), **(given or {}), **self.own}
        if complete:
            secrets = {name.removesuffix("Secret"): secret for name, secret in self.own.items() if name.endswith("Secret")}
            values |= {name: self.reference(secret) for name, secret in secrets.items() if name in declared}
        if values.get("JwtJwksUrl"):
            # Then only the identity provider signs.
            values = {name: value for name, value in values.items() if name not in ("JwtSecret", "JwtSecretPrevious")}
        values = {name: value for name, value in values.items() if name in declared}
        if complete:
            missing = [name for name, about in declared.items() if "Default" not in about and name not in values]
            # All of them: CloudFormation would keep the value before of one that is left out.
            values = {name: text(about["Default"]) for name, about in declared.items() if "Default" in about} | values
            if missing:
                raise Refused(f"{TEMPLATES[template].name} needs {', '.join(missing)}: set them in the settings")
        return values

    def chosen(self, template):
        """The parameters of a template as far as they are known before anything is deployed."""
        defaults = {name: text(about["Default"]) for name, about in parameters_of(template).items() if "Default" in about}
        return defaults | self.values(template, complete=False)

    def reference(self, secret):
        """What a function replaces by the value: the ARN of a secret, and the member that has the value."""
        name, _, member = secret.partition("#")
        try:
            secret = self.client("secretsmanager").describe_secret(SecretId=name)
        except self.client("secretsmanager").exceptions.ResourceNotFoundException:
            raise Refused(f"Secrets Manager has no secret {name}") from None
        if not any("AWSCURRENT" in stages for stages in secret.get("VersionIdsToStages", {}).values()):
            raise Refused(f"the secret {secret['Name']} has no value")
        return f"{secret['ARN']}#{member or 'value'}"

    def given(self, data):
        """Outputs of the data stack that are parameters of others."""
        declared = {*parameters_of("app"), *parameters_of("migrate")}
        return {name: value for name, value in data.items() if name in declared}

    def urls(self):
        domain = self.own.get("Domain")
        return {"SocketUrl": f"wss://{domain}/live", "EventsUrl": f"https://{domain}/events/api/events"} if domain else {}

    def observed(self, data, app):
        """What the alarms watch."""
        resources = self.client("cloudformation").get_paginator("list_stack_resources")
        functions = [
            resource["PhysicalResourceId"]
            for page in resources.paginate(StackName=self.stack)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == "AWS::Lambda::Function"
        ]
        called = [name for name in functions if name != app["DrainFunction"]]
        watched = {**app, "Functions": ",".join(sorted(functions)), "CalledFunctions": ",".join(sorted(called))}
        watched |= {name: data[name] for name in ("DatabaseCluster", "DatabaseInstance") if name in data}
        if "RedisGroupId" in data:
            groups = self.client("elasticache").describe_replication_groups(ReplicationGroupId=data["RedisGroupId"])
            watched["RedisNodes"] = ",".join(sorted(groups["ReplicationGroups"][0]["MemberClusters"]))
        return watched

    # ---- steps ----

    def deploy(self, template, values, region=None):
        """Deploys a stack and returns its outputs."""
        stack = self.stack if template == "app" else f"{self.stack}-{template}"
        print(f"\n== {stack}", flush=True)
        self.discard_failed_creation(stack, region)
        with tempfile.TemporaryDirectory() as folder:
            path = TEMPLATES[template]
            if template in ("migrate", "app"):
                path = self.with_bundles(template, values, Path(folder))
            parameters = Path(folder) / "parameters.yaml"
            parameters.write_text(json.dumps(values, indent=2, sort_keys=True))
            self.sam([
                "deploy", "--template-file", str(path), "--stack-name", stack, "--region", region or self.region,
                "--config-file", str(ROOT / f"deploy/{self.size}.toml"), "--config-env", template,
                "--no-confirm-changeset", "--no-fail-on-empty-changeset",
                "--parameter-overrides", f"file://{parameters}",
            ])  # fmt: skip
        described = self.client("cloudformation", region).describe_stacks(StackName=stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}

    def discard_failed_creation(self, stack, region):
        """Deletes what is left of a stack that could not be created, which is nothing but its name."""
        client = self.client("cloudformation", region)
        try:
            status = client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        except client.exceptions.ClientError:
            return
        if status == "ROLLBACK_COMPLETE":
            client.delete_stack(StackName=stack)
            client.get_waiter("stack_delete_complete").wait(StackName=stack)

    def with_bundles(self, template, values, folder):
        """A copy of a template whose functions are the bundles of `make build`.

        Each has the description of this release: Lambda publishes a version only of a function that has changed, and
        the transform asks for one only if the text of the template has, not the values of parameters.
        """
        document = yaml_parse(TEMPLATES[template].read_text())
        release = hashlib.sha256(json.dumps([document, values], sort_keys=True, default=str).encode())
        names = functions_of(template)
        for name in names:
            # A folder instead of the archive, which contains times: SAM uploads what has other contents.
            with zipfile.ZipFile(self.bundles / name / "bootstrap.zip") as bundle:
                program = bundle.read("bootstrap")
            (folder / name).mkdir()
            (folder / name / "bootstrap").write_bytes(program)
            (folder / name / "bootstrap").chmod(0o755)
            release.update(hashlib.sha256(program).digest())
        for name in names:
            properties = document["Resources"][name]["Properties"]
            properties["CodeUri"] = str(folder / name)
            properties["Description"] = f"Release {release.hexdigest()[:12]}"
            if template == "app":
                properties["AutoPublishAliasAllProperties"] = True
        path = folder / f"{template}.yaml"
        path.write_text(yaml_dump(document))
        return path

    def migrate(self, name):
        """Applies the missing migrations and makes the functions' role, before any function that needs them is deployed."""
        # As long as the function may run, and never twice.
        patient = Config(read_timeout=910, retries={"total_max_attempts": 1})
        answer = self.client("lambda", config=patient).invoke(FunctionName=name, Payload=b"{}")
        payload = answer["Payload"].read().decode()
        if "FunctionError" in answer:
            raise Refused(f"the database is not migrated, and the functions are as before: {payload}")
        print(f"migrated: {payload}")

    def report(self, app):
        print(f"\nHTTP     {app['HttpUrl']}\nsockets  {app['SocketUrl']}\nstreams  {app['EventsUrl']}")
        try:
            with urllib.request.urlopen(f"{app['HttpUrl']}/health", timeout=30) as answer:
                print(f"health   {answer.read().decode()}")
        except (urllib.error.URLError, TimeoutError) as error:
            text = error.read().decode() if isinstance(error, urllib.error.HTTPError) else ""
            raise Refused(f"everything is deployed, but {app['HttpUrl']}/health does not answer well: {error} {text}") from None

    # ---- AWS ----

    def client(self, service, region=None, config=None):
        return self.session.client(service, region_name=region or self.region, config=config)


def run_sam(arguments):
    subprocess.run([Path(sys.executable).parent / "sam", *arguments], check=True)


def functions_of(template):
    resources = yaml_parse(TEMPLATES[template].read_text())["Resources"]
    return [name for name, resource in resources.items() if resource["Type"] == "AWS::Serverless::Function"]


def text(value):
    """A value as CloudFormation writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
