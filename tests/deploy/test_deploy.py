"""Rehearses deploy/deploy.py and its templates without an account: `make validate` runs it."""

import io
import json
import logging
import os
import re
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "tests/deploy")]
os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}

import boto3  # noqa: E402
import cloud  # noqa: E402
import deploy  # noqa: E402
import tomlkit  # noqa: E402
from deploy import Deployment, Refused, parameters_of, size_parameters  # noqa: E402
from moto import mock_aws  # noqa: E402
from moto.cloudformation.models import cloudformation_backends  # noqa: E402

SIZES = ["small", "medium", "large"]
REGION = "eu-central-1"
SETTINGS = {"stack": "carillon", "region": REGION, "parameters": {"AllowedOrigins": "https://app.example.com"}}
# Outputs of deploy/data.yaml that are for deploy.py itself.
FOR_THE_SCRIPT = {"RedisGroupId"}


def outputs_of(template):
    return set(deploy.yaml_parse(deploy.TEMPLATES[template].read_text()).get("Outputs", {}))


class Parameters(unittest.TestCase):
    def test_every_value_of_a_size_is_one_that_its_template_allows(self):
        for size in SIZES:
            config = tomlkit.parse((ROOT / f"deploy/{size}.toml").read_text())
            self.assertEqual(set(config) - {"version"}, set(deploy.TEMPLATES), size)
            for template in deploy.TEMPLATES:
                declared = parameters_of(template)
                for name, value in size_parameters(size, template).items():
                    with self.subTest(size=size, template=template, parameter=name):
                        self.assertIn(name, declared)
                        about = declared[name]
                        if "AllowedValues" in about:
                            self.assertIn(value, map(str, about["AllowedValues"]))
                        if "AllowedPattern" in about:
                            self.assertRegex(value, about["AllowedPattern"])
                        if about["Type"] == "Number":
                            self.assertGreaterEqual(float(value), about.get("MinValue", float("-inf")))
                            self.assertLessEqual(float(value), about.get("MaxValue", float("inf")))

    def test_where_a_zone_may_fail_functions_start_without_the_nat_gateway(self):
        for size in SIZES:
            values = size_parameters(size, "data")
            self.assertEqual(values["SecretsEndpoint"], values["DatabaseStandby"], size)

    def test_outputs_of_the_data_stack_are_parameters_of_others(self):
        declared = {*parameters_of("app"), *parameters_of("migrate"), *parameters_of("alarms")}
        for name in outputs_of("data") - FOR_THE_SCRIPT:
            self.assertTrue(name in declared or name.removesuffix("Secret") in declared, name)

    def test_each_parameter_without_a_default_comes_from_somewhere(self):
        computed = {"DashboardName", "Functions", "CalledFunctions"}
        secrets = {name.removesuffix("Secret") for name in outputs_of("data") if name.endswith("Secret")}
        sources = {
            "data": set(),
            "migrate": outputs_of("data") | secrets,
            "app": outputs_of("data") | secrets | set(SETTINGS["parameters"]),
            "alarms": outputs_of("app") | outputs_of("data") | computed,
            "dashboard": outputs_of("app") | computed,
            # The operator's: `Domain` decides whether there is this stack at all.
            "edge": outputs_of("app") | {"Domain", "CertificateArn"},
        }
        for template, source in sources.items():
            needed = {name for name, about in parameters_of(template).items() if "Default" not in about}
            self.assertEqual(needed - source, set(), template)

    def test_the_example_of_settings_and_the_guide_name_parameters_that_exist(self):
        text = (ROOT / "deploy/settings.example.toml").read_text() + (ROOT / "docs/deploying.md").read_text()
        known = {name for template in deploy.TEMPLATES for name in parameters_of(template)}
        named = re.findall(r"^ *(?:# )?([A-Z]\w+) = |`([A-Z]\w+) = ", text, re.MULTILINE)
        named = [one or other for one, other in named]
        self.assertGreater(len(named), 15)
        for name in named:
            self.assertTrue(name in known or name.removesuffix("Secret") in known, name)

    def test_the_documents_read_outputs_that_exist(self):
        text = "".join((ROOT / f"docs/{name}.md").read_text() for name in ("deploying", "operating"))
        read = re.findall(r"output carillon(?:-staging)?(?:-(data|migrate))? (\w+)", text)
        self.assertGreater(len(read), 5)
        for stack, name in read:
            self.assertIn(name, outputs_of(stack or "app"))


class Rehearsal(unittest.TestCase):
    """Deploys to moto, with functions that remember their calls."""

    def setUp(self):
        self.aws = mock_aws()
        self.aws.start()
        self.addCleanup(self.aws.stop)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.bundles = self.folder / "bundles"
        cloud.bundle(self.bundles, [*deploy.functions_of("app"), *deploy.functions_of("migrate")])
        self.sam = cloud.Sam()
        self.calls = self.sam.calls
        self.migration = {"Payload": io.BytesIO(b'{"version":12}')}
        self.concurrency = 1000

    def deploy(self, size="small", **parameters):
        settings = self.folder / "settings.toml"
        parameters = SETTINGS["parameters"] | parameters
        settings.write_text(tomlkit.dumps(SETTINGS | {"parameters": parameters}))
        deployment = Deployment(size, settings, self.sam, self.bundles)
        real = deployment.client
        deployment.client = lambda service, *args, **kwargs: self.client(real, service, *args, **kwargs)
        with redirect_stdout(io.StringIO()) as printed, mock.patch("urllib.request.urlopen") as health:
            health.return_value.__enter__.return_value.read.return_value = b'{"status":"ok"}'
            deployment.run()
        return printed.getvalue()

    def client(self, real, service, *args, **kwargs):
        if service == "lambda":
            client = mock.Mock()
            client.get_account_settings.return_value = {"AccountLimit": {"ConcurrentExecutions": self.concurrency}}
            client.invoke.side_effect = lambda **_: self.calls.append("invoke migrate") or self.migration
            return client
        if service == "elasticache":
            client = mock.Mock()
            members = ["redis-0001-001", "redis-0001-002"]
            client.describe_replication_groups.return_value = {"ReplicationGroups": [{"MemberClusters": members}]}
            return client
        return real(service, *args, **kwargs)

    def versions(self):
        resources = self.sam.templates["carillon"]["Resources"]
        return sorted(name for name, resource in resources.items() if resource["Type"] == "AWS::Lambda::Version")

    def test_the_database_is_migrated_before_the_functions_are_replaced(self):
        for size in SIZES:
            with self.subTest(size=size):
                self.setUp()
                self.deploy(size)
                self.assertEqual(
                    self.calls,
                    [
                        "carillon-data", "carillon-migrate", "invoke migrate", "carillon", "carillon-alarms",
                        "carillon-dashboard",
                    ],
                )  # fmt: skip

    def test_a_failed_migration_leaves_the_functions_as_they_are(self):
        self.migration = {"Payload": io.BytesIO(b'{"errorMessage":"locked"}'), "FunctionError": "Unhandled"}
        with self.assertRaisesRegex(Refused, "the functions are as before.*locked"):
            self.deploy()
        self.assertNotIn("carillon", self.calls)

    def test_the_role_that_migrate_makes_is_that_of_the_functions(self):
        for database in ("aurora", "rds"):
            with self.subTest(database=database):
                self.setUp()
                self.deploy(Database=database, MaxDatabaseConnections=60)
                client = boto3.client("cloudformation", region_name=REGION)

                def given(stack, name, client=client):
                    parameters = client.describe_stacks(StackName=stack)["Stacks"][0]["Parameters"]
                    return next(one["ParameterValue"] for one in parameters if one["ParameterKey"] == name)

                made, used = given("carillon-migrate", "FunctionsDatabaseUrl"), given("carillon", "DatabaseUrl")
                self.assertEqual(made.split("@")[0], "postgres://carillon_functions")
                self.assertEqual(made, used)
                password = given("carillon-migrate", "FunctionsDatabasePassword")
                self.assertRegex(password, "^arn:aws:secretsmanager:.*FunctionsPassword.*#password$")
                self.assertEqual(password, given("carillon", "DatabasePassword"))

    def test_a_version_is_published_when_and_only_when_something_has_changed(self):
        self.deploy()
        first = self.versions()
        self.deploy()
        self.assertEqual(self.versions(), first)
        # The transform does not look at values of parameters.
        self.deploy(Accept="fast")
        with_parameter = self.versions()
        self.assertTrue(set(first).isdisjoint(with_parameter))
        secrets = boto3.client("secretsmanager", region_name=REGION)
        secret = next(one["ARN"] for one in secrets.list_secrets()["SecretList"] if "JwtSecret" in one["Name"])
        # Functions take up another value by themselves.
        secrets.put_secret_value(SecretId=secret, SecretString='{"value": "' + 64 * "x" + '"}')
        self.deploy(Accept="fast")
        self.assertEqual(self.versions(), with_parameter)
        cloud.bundle(self.bundles, ["send"], b"release 2")
        self.deploy(Accept="fast")
        self.assertTrue(set(with_parameter).isdisjoint(self.versions()))

    def test_a_setting_that_is_removed_has_its_default_again(self):
        self.deploy(Accept="fast", EnableTestEndpoints=True, Env="staging")
        self.deploy()
        client = boto3.client("cloudformation", region_name=REGION)
        parameters = client.describe_stacks(StackName="carillon")["Stacks"][0]["Parameters"]
        values = {one["ParameterKey"]: one["ParameterValue"] for one in parameters}
        self.assertEqual((values["Accept"], values["EnableTestEndpoints"], values["Env"]), ("durable", "false", "production"))

    def test_every_function_but_the_drain_alarms_when_it_is_throttled(self):
        self.deploy()
        values = self.sam.stacks["carillon-alarms"].values
        functions, drain = values["Functions"].split(","), values["DrainFunction"]
        self.assertIn(drain, functions)
        resources = self.sam.templates["carillon-alarms"]["Resources"]

        def watched(kind):
            alarms = [one["Properties"] for name, one in resources.items() if name.startswith(kind)]
            return sorted(one["Value"]["Fn::Sub"] for alarm in alarms for one in alarm.get("Dimensions", []))

        self.assertEqual(watched("Throttles"), sorted(set(functions) - {drain}))
        self.assertEqual(sum(name.startswith("Errors") for name in resources), len(functions))

    def test_a_restored_database_is_not_replaced_by_an_empty_one(self):
        restore = {"RestoreFrom": "cluster", "RestoreTime": "2026-11-20T10:15:00Z"}
        self.deploy(**restore)
        self.calls.clear()
        with self.assertRaisesRegex(Refused, 'would be empty: RestoreFrom = "cluster", RestoreTime = "2026'):
            self.deploy()
        self.assertEqual(self.calls, [])
        self.deploy(**restore)

    def test_a_stack_that_could_not_be_created_is_created_again(self):
        client = boto3.client("cloudformation", region_name=REGION)
        nothing = '{"Resources": {"Nothing": {"Type": "AWS::SNS::Topic"}}}'
        failed = client.create_stack(StackName="carillon-data", TemplateBody=nothing)["StackId"]
        cloudformation_backends["123456789012"][REGION].get_stack(failed).status = "ROLLBACK_COMPLETE"
        self.deploy()
        self.assertNotEqual(client.describe_stacks(StackName="carillon-data")["Stacks"][0]["StackId"], failed)

    def test_no_secret_is_in_a_parameter(self):
        self.deploy()
        client = boto3.client("cloudformation", region_name=REGION)
        secrets = boto3.client("secretsmanager", region_name=REGION)
        values = [secrets.get_secret_value(SecretId=one["ARN"])["SecretString"] for one in secrets.list_secrets()["SecretList"]]
        self.assertGreater(len(values), 4)
        for stack in client.describe_stacks()["Stacks"]:
            parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
            for value in values:
                self.assertTrue(set(json.loads(value).values()).isdisjoint(parameters.values()))
            self.assertNotIn("{{resolve:", json.dumps(parameters))
        given = self.sam.templates["carillon"]
        self.assertIn("DATABASE_URL", json.dumps(given))

    def test_functions_may_read_exactly_the_secrets_that_they_are_given(self):
        secrets = boto3.client("secretsmanager", region_name=REGION)
        secrets.create_secret(Name="vapid", SecretString='{"value": "x", "other": "y"}')
        self.deploy(VapidPublicKey="x", VapidPrivateKeySecret="vapid#other", VapidSubject="mailto:a@example.com")
        arns = {one["Name"]: one["ARN"] for one in secrets.list_secrets()["SecretList"]}
        app = self.sam.stacks["carillon"]
        resources = app.template["Resources"]

        def readable(policy):
            statement = app.replaced(resources[policy]["Properties"]["PolicyDocument"])["Statement"][0]
            self.assertEqual(statement["Action"], "secretsmanager:GetSecretValue")
            return statement["Resource"]

        for policy, names in [
            ("StoreSecrets", ["FunctionsPassword", "RedisPassword"]),
            ("TokenSecrets", ["JwtSecret", "JwtSecretPrevious"]),
        ]:
            self.assertEqual(readable(policy), [arns[f"carillon-data-{name}"] for name in names])
        self.assertEqual(readable("PushSecret"), arns["vapid"])
        self.assertEqual(app.values["VapidPrivateKey"], f"{arns['vapid']}#other")
        for function, policies in [
            ("send", ["StoreSecrets", "TokenSecrets"]),
            ("connect", ["StoreSecrets"]),
            ("drain", ["StoreSecrets", "PushSecret"]),
            ("notfound", []),
        ]:
            attached = app.replaced(resources[f"{function}Role"]["Properties"]["ManagedPolicyArns"])
            named = [one["Ref"] for one in attached if isinstance(one, dict) and "Ref" in one]
            self.assertEqual(named, policies, function)

    def test_values_that_are_no_secrets_give_no_right(self):
        template = deploy.yaml_parse(deploy.TEMPLATES["app"].read_text())
        for value in ["", "postgres://u:p@h/x", "{{resolve:secretsmanager:x:SecretString:value}}"]:
            secrets = [name for name, about in template["Parameters"].items() if about.get("NoEcho")]
            stack = cloud.Stack(template, dict.fromkeys(secrets, value), REGION, "x")
            for policy in ("StoreSecrets", "TokenSecrets", "PushSecret"):
                self.assertFalse(stack.holds({"Condition": template["Resources"][policy]["Condition"]}), (value, policy))

    def test_stores_and_keys_of_ones_own_replace_those_of_the_data_stack(self):
        secrets = boto3.client("secretsmanager", region_name=REGION)
        for name in ("database", "migrate", "redis"):
            secrets.create_secret(Name=name, SecretString='{"value": "x"}')
        self.deploy(
            Database="none", DatabaseUrlSecret="database", MigrateDatabaseUrlSecret="migrate", Redis="none",
            RedisUrlSecret="redis", JwtJwksUrl="https://id.example.com/keys", JwtIssuer="i", JwtAudience="a",
        )  # fmt: skip
        self.assertEqual(self.sam.types["carillon-data"], {"AWS::SecretsManager::Secret"})
        client = boto3.client("cloudformation", region_name=REGION)
        parameters = client.describe_stacks(StackName="carillon-migrate")["Stacks"][0]["Parameters"]
        values = {one["ParameterKey"]: one["ParameterValue"] for one in parameters}
        self.assertEqual(values["FunctionsDatabaseUrl"], "")
        # A URL of one's own has its own password, or none.
        app = self.sam.stacks["carillon"].values
        self.assertEqual((app["DatabasePassword"], app["RedisPassword"]), ("", ""))

    def test_a_domain_is_told_to_clients(self):
        certificate = "arn:aws:acm:us-east-1:123456789012:certificate/1"
        printed = self.deploy(Domain="notify.example.com", CertificateArn=certificate, Firewall="true")
        # Its stack has a place in the order of the guide, which settings.example.toml repeats.
        stacks = [call for call in self.calls if call != "invoke migrate"]
        guide = (ROOT / "docs/deploying.md").read_text()
        self.assertEqual(re.findall(r"^\| `(carillon[a-z-]*)` \|", guide, re.MULTILINE), stacks)
        example = (ROOT / "deploy/settings.example.toml").read_text()
        named = re.search(r"^# The stacks are called (.+)\.$", example, re.MULTILINE)[1]
        self.assertEqual(re.split(", | and ", named), stacks)
        self.assertIn("point notify.example.com to", printed)

    def test_what_cannot_succeed_is_refused_before_anything_is_deployed(self):
        for change, message in [
            ({"parameters": {"DatabaseUri": "x"}}, "no template has the parameters DatabaseUri"),
            ({"parameters": {"JwtSecret": 64 * "x"}}, "secrets do not belong in the settings: set JwtSecretSecret"),
            ({"parameters": {"Domain": "a.b", "SocketUrl": "wss://a.b"}}, "Domain decides SocketUrl"),
            ({"parameters": {"RedisUrlSecret": "x"}}, 'Redis = "single" creates one beside that of RedisUrlSecret'),
            ({"parameters": {"Redis": "cluster", "RedisUrlsSecret": "x"}}, 'Redis = "cluster" creates one'),
            ({"parameters": {"DatabaseUrlSecret": "x"}}, 'Database = "aurora" creates one beside that of DatabaseUrlSecret'),
            ({"parameters": {"Redis": "none", "MigrateDatabaseUrlSecret": "x"}}, "remove MigrateDatabaseUrlSecret"),
            ({"parameters": {"Database": "rds"}}, 'MaxDatabaseConnections of small does not fit Database = "rds"'),
            ({"parameters": {"AuroraMaxCapacity": 4}}, 'of small does not fit AuroraMaxCapacity = "4"'),
            ({"parameters": {"PresenceLeaseMs": 60000}}, r"PresenceLeaseMs \(60000\) must be longer than PingEveryMs"),
            ({"concurrency": 10}, "allows 10 concurrent executions, and 122 are needed.*increase"),
            ({"missing": "send"}, "make build ARGS=arm64 first: send"),
        ]:
            with self.subTest(message):
                self.setUp()
                self.concurrency = change.get("concurrency", 1000)
                if "missing" in change:
                    (self.bundles / change["missing"] / "bootstrap.zip").unlink()
                with self.assertRaisesRegex(Refused, message):
                    self.deploy(**change.get("parameters", {}))
                self.assertEqual(self.calls, [])

    def test_what_is_missing_later_is_named(self):
        with self.assertRaisesRegex(Refused, "Secrets Manager has no secret nowhere"):
            self.deploy(VapidPrivateKeySecret="nowhere")
        with self.assertRaisesRegex(Refused, "migrate.yaml needs MigrateDatabaseUrl"):
            self.deploy(Database="none")


class Written(unittest.TestCase):
    """Templates as they are written."""

    def of_type(self, template, kind):
        """The properties of the resources of one type, by logical id."""
        resources = deploy.yaml_parse(deploy.TEMPLATES[template].read_text())["Resources"]
        found = {name: one.get("Properties", {}) for name, one in resources.items() if one["Type"] == kind}
        self.assertTrue(found, f"{template} has no {kind}")
        return found

    def test_no_log_is_kept_for_ever(self):
        for template, days in [("data", 30), ("migrate", 30), ("app", {"Ref": "LogRetentionDays"})]:
            for name, properties in self.of_type(template, "AWS::Logs::LogGroup").items():
                self.assertEqual(properties.get("RetentionInDays"), days, (template, name))

    def test_all_that_is_private_shares_one_nat_gateway(self):
        # The cost page counts one, and SecretsEndpoint is for the time in which its zone fails.
        self.assertEqual(list(self.of_type("data", "AWS::EC2::NatGateway")), ["Nat"])
        routes = self.of_type("data", "AWS::EC2::Route").values()
        self.assertEqual([one["NatGatewayId"] for one in routes if "NatGatewayId" in one], [{"Ref": "Nat"}])

    def test_network_interfaces_are_granted_only_in_a_vpc(self):
        for template, name in [("app", "Boundary"), ("migrate", "MigrateRole")]:
            document = deploy.yaml_parse(deploy.TEMPLATES[template].read_text())
            for subnets in ("", "subnet-1,subnet-2"):
                with self.subTest(template=template, subnets=subnets):
                    urls = {"DatabaseUrl": "x", "MigrateDatabaseUrl": "x"}
                    stack = cloud.Stack(document, {**urls, "SubnetIds": subnets}, REGION, "x")
                    granted = json.dumps(stack.replaced(document["Resources"][name]))
                    self.assertIn("logs:PutLogEvents", granted)
                    self.assertEqual("ec2:CreateNetworkInterface" in granted, subnets != "")

    def test_no_database_has_a_public_address(self):
        for name, properties in self.of_type("data", "AWS::RDS::DBInstance").items():
            self.assertIs(properties.get("PubliclyAccessible"), False, name)


class Rules(unittest.TestCase):
    """What a stack refuses before it creates anything."""

    def refusals(self, template, values):
        document = deploy.yaml_parse(deploy.TEMPLATES[template].read_text())
        stack = cloud.Stack(document, values, REGION, "x")
        return [
            assertion["AssertDescription"]
            for rule in document["Rules"].values()
            if stack.holds(rule.get("RuleCondition", {}))
            for assertion in rule["Assertions"]
            if not stack.holds(assertion["Assert"])
        ]

    def test_rules_use_only_functions_that_cloudformation_supports_in_them(self):
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
        supported = {"Ref", "Fn::And", "Fn::Contains", "Fn::Equals", "Fn::Not", "Fn::Or"}

        def functions(value):
            match value:
                case list():
                    return set().union(*map(functions, value))
                case dict():
                    return set(value).union(*map(functions, value.values()))
            return set()

        for template, path in deploy.TEMPLATES.items():
            for name, rule in deploy.yaml_parse(path.read_text()).get("Rules", {}).items():
                for condition in [rule.get("RuleCondition", {}), *(one["Assert"] for one in rule["Assertions"])]:
                    self.assertEqual(functions(condition) - supported, set(), (template, name))

    def test_contradictory_parameters_are_refused(self):
        keys = {"JwtSecret": 32 * "x"}
        network = {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}
        for template, values, told in [
            ("app", {}, ["Set JwtSecret, or JwtJwksUrl with JwtIssuer and JwtAudience, not both"]),
            ("app", keys, []),
            ("app", {**keys, **network, "RedisUrl": "rediss://a", "RedisCluster": "true"}, []),
            ("app", {**keys, "RedisUrls": "rediss://a,rediss://b"}, []),
            ("app", {**keys, "RedisUrl": "rediss://a", "RedisUrls": "rediss://b"}, ["Set RedisUrl or RedisUrls, not both"]),
            (
                "app",
                {**keys, "RedisUrls": "rediss://a", "RedisCluster": "true"},
                ["RedisCluster needs RedisUrl instead of RedisUrls, since one server of a cluster knows the others"],
            ),
            ("migrate", network, []),
            *(
                (template, {**keys, name: network[name]}, ["Set SubnetIds and SecurityGroupIds, or neither of them"])
                for template in ("app", "migrate")
                for name in network
            ),
            ("data", {}, []),
            ("data", {"VpcId": "vpc-1"}, ["VpcId needs VpcSubnetIds"]),
            ("data", {"VpcId": "vpc-1", "VpcSubnetIds": "subnet-1,subnet-2"}, []),
        ]:
            with self.subTest(template=template, values=values):
                self.assertEqual(self.refusals(template, values), told)


class Transformed(unittest.TestCase):
    """template.yaml as CloudFormation sees it."""

    def resources(self, **values):
        template = deploy.yaml_parse(deploy.TEMPLATES["app"].read_text())
        for name in deploy.functions_of("app"):
            template["Resources"][name]["Properties"]["CodeUri"] = f"s3://artifacts/{name}"
        template["Globals"]["Function"].pop("CodeUri")
        template.pop("Transform")
        values = {"AllowedOrigins": "https://app.example.com", "DatabaseUrl": "x", **values}
        return cloud.transform(template, values, cloud.ManagedPolicies())["Resources"]

    def test_every_call_goes_to_the_alias(self):
        resources = self.resources()
        functions = {name for name, one in resources.items() if one["Type"] == "AWS::Lambda::Function"}
        aliases = {name for name, one in resources.items() if one["Type"] == "AWS::Lambda::Alias"}
        self.assertEqual(len(aliases), len(functions))
        for name, one in resources.items():
            if one["Type"] == "AWS::Lambda::Permission":
                self.assertIn(one["Properties"]["FunctionName"].get("Ref"), aliases, name)

    def test_every_role_has_the_boundary_and_every_alias_the_alarms(self):
        for name, one in self.resources().items():
            if one["Type"] == "AWS::IAM::Role" and name != "CodeDeployServiceRole":
                self.assertEqual(one["Properties"]["PermissionsBoundary"], {"Ref": "Boundary"}, name)
            if one["Type"] == "AWS::CodeDeploy::DeploymentGroup":
                self.assertEqual(len(one["Properties"]["AlarmConfiguration"]["Alarms"]), 2, name)

    def test_a_run_of_the_drain_that_failed_goes_to_a_queue(self):
        configs = [one["Properties"] for one in self.resources().values() if one["Type"] == "AWS::Lambda::EventInvokeConfig"]
        queue = {"OnFailure": {"Destination": {"Fn::GetAtt": ["DrainFailures", "Arn"]}}}
        self.assertEqual([(one["FunctionName"], one["DestinationConfig"]) for one in configs], [({"Ref": "drain"}, queue)])
        # The next run does its work.
        self.assertEqual(configs[0]["MaximumRetryAttempts"], 0)

    def test_every_function_has_the_parameters_of_traces(self):
        functions = {name: one for name, one in self.resources().items() if one["Type"] == "AWS::Lambda::Function"}
        self.assertGreater(len(functions), 15)
        for name, one in functions.items():
            variables = one["Properties"]["Environment"]["Variables"]
            self.assertEqual(variables["OTEL_EXPORTER_OTLP_ENDPOINT"], {"Ref": "OtlpEndpoint"}, name)
            self.assertEqual(variables["OTEL_TRACES_SAMPLER_ARG"], {"Ref": "OtlpShare"}, name)
            self.assertEqual(variables["OTEL_TRACES_SAMPLER"], "parentbased_traceidratio", name)
            layer = {"Fn::If": ["HasOtlpLayer", {"Ref": "OtlpLayer"}, {"Ref": "AWS::NoValue"}]}
            self.assertEqual(one["Properties"]["Layers"], [layer], name)

    def test_the_test_page_exists_only_where_it_is_enabled(self):
        for name, one in self.resources().items():
            if re.match("(page|testing)[A-Z]?", name) and one["Type"] not in ("AWS::Lambda::Permission",):
                self.assertEqual(one.get("Condition"), "HasTestPage", name)

    def test_a_production_stack_stays_below_the_limits_of_cloudformation(self):
        resources = self.resources(Tracing="Active", Shift="Linear10PercentEvery1Minute")
        self.assertLess(len(resources), 500)
        # Also if secrets are passed on as dynamic references, of which CloudFormation allows 60 in a stack.
        deployed = [one for one in resources.values() if one.get("Condition") != "HasTestPage"]
        variables = [one["Properties"].get("Environment") for one in deployed if one["Type"] == "AWS::Lambda::Function"]
        secrets = ("DatabaseUrl", "RedisUrl", "JwtSecret", "JwtSecretPrevious", "VapidPrivateKey")
        references = json.dumps(variables)
        count = sum(references.count(json.dumps({"Ref": name})) for name in secrets)
        self.assertLessEqual(count, 60)


if __name__ == "__main__":
    # The transform warns about switches of AWS' own.
    logging.disable(logging.WARNING)
    unittest.main()
