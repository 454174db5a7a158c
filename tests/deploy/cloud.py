"""A stand-in for AWS: moto, with what it lacks replaced, and for the SAM CLI, which reads the same arguments."""

import hashlib
import io
import ipaddress
import itertools
import json
import logging
import zipfile
from pathlib import Path

import boto3
from moto.cloudformation.parsing import get_model_map
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform


# What moto knows, but not as SAM writes it, and what belongs to aliases, which it does not know.
NOT_CREATED = {
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission",
}
NO_VALUE = {"Ref": "AWS::NoValue"}
# What has been decided, and what would name something missing.
LEFT_OUT = ("Condition", "DependsOn")


class ManagedPolicies:
    """What SAM asks IAM for; our templates name no managed policy."""

    def load(self):
        return {}


class Sam:
    """Deploys to moto and remembers in which order."""

    def __init__(self):
        self.calls = []
        self.templates = {}
        self.stacks = {}
        # The types of the resources whose conditions hold, by stack.
        self.types = {}

    def __call__(self, arguments):
        assert arguments[0] == "deploy", arguments
        options = dict(zip(arguments[1:], arguments[2:], strict=False))
        stack, region = options["--stack-name"], options["--region"]
        self.calls.append(stack)
        values = json.loads(Path(options["--parameter-overrides"].removeprefix("file://")).read_text())
        template = transformed(yaml_parse(Path(options["--template-file"]).read_text()), values)
        self.templates[stack] = template
        wanted = Stack(template, values, region, stack)
        body = json.dumps(wanted.for_moto())
        self.types[stack] = wanted.types
        self.stacks[stack] = wanted
        client = boto3.client("cloudformation", region_name=region)
        known = client.describe_stacks()["Stacks"]
        apply = client.update_stack if any(one["StackName"] == stack for one in known) else client.create_stack
        try:
            apply(
                StackName=stack,
                TemplateBody=body,
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
                Capabilities=["CAPABILITY_IAM"],
            )
        except client.exceptions.ClientError as error:
            # As with `--no-fail-on-empty-changeset`.
            if "No updates are to be performed" not in str(error):
                raise


class Stack:
    """A template without what moto lacks: references to it become strings, and secrets are created apart."""

    def __init__(self, template, values, region, name):
        self.template, self.region, self.name = template, region, name
        parameters = template.get("Parameters", {}).items()
        self.values = {name: str(about["Default"]) for name, about in parameters if "Default" in about} | values
        self.missing = {}
        self.types = set()

    def for_moto(self):
        supported = set(get_model_map()) - NOT_CREATED
        resources = self.template["Resources"]
        for name, resource in resources.items():
            if "Condition" in resource and not self.holds({"Condition": resource["Condition"]}):
                self.missing[name] = f"absent-{name}"
                continue
            self.types.add(resource["Type"])
            if resource["Type"] == "AWS::SecretsManager::Secret":
                self.missing[name] = self.secret(name)
            elif resource["Type"] not in supported or resource.get("Properties", {}).get("Engine") == "aurora-postgresql":
                prefix = f"arn:aws:lambda:{self.region}:123456789012:function:" if "Lambda" in resource["Type"] else ""
                self.missing[name] = f"{prefix}{self.name}-{name}"
        outputs = self.template.get("Outputs", {})
        kept = {name: self.replaced(resource) for name, resource in resources.items() if name not in self.missing}
        # moto needs one resource.
        kept = kept or {"Nothing": {"Type": "AWS::SNS::Topic"}}
        there = {name: self.replaced(one) for name, one in outputs.items() if self.holds(one)}
        return {**self.template, "Resources": kept, "Outputs": there}

    def secret(self, name):
        """The ARN of the secret of this resource."""
        client = boto3.client("secretsmanager", region_name=self.region)
        full = f"{self.name}-{name}"
        found = [one["ARN"] for one in client.list_secrets()["SecretList"] if one["Name"] == full]
        value = json.dumps({"value": f"secret value of {full}", "password": f"secret password of {full}"})
        return found[0] if found else client.create_secret(Name=full, SecretString=value)["ARN"]

    def holds(self, condition):
        """Whether a condition is true, with the values of the parameters."""
        if "Condition" in condition and isinstance(condition["Condition"], str):
            return self.holds(self.template["Conditions"][condition["Condition"]])
        ((name, argument),) = condition.items() if len(condition) == 1 else (("", None),)
        match name:
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(map(self.holds, argument))
            case "Fn::Or":
                return any(map(self.holds, argument))
            case "Fn::Equals":
                left, right = map(self.text, argument)
                return left == right
            case "Fn::Contains":
                listed, item = argument
                return item in self.values[listed["Ref"]].split(",")
        return True

    def text(self, value):
        match value:
            case {"Ref": name}:
                return self.values[name]
            case {"Fn::Join": [_, {"Ref": name}]}:
                return self.values[name].replace(",", "")
            case {"Fn::Select": [index, {"Fn::Split": [separator, whole]}]}:
                return self.text(whole).split(separator)[int(index)]
            case {"Fn::Sub": str() as pattern}:
                for name, known in self.values.items():
                    pattern = pattern.replace(f"${{{name}}}", known)
                return pattern
        return str(value)

    def replaced(self, value):
        match value:
            case list():
                return [item for item in map(self.replaced, value) if item != NO_VALUE]
            case {"Ref": name} if name in self.missing:
                return self.missing[name]
            case {"Fn::GetAtt": [name, *attribute]} if name in self.missing:
                return ".".join([self.missing[name], *attribute])
            case {"Fn::GetAtt": str() as path} if path.split(".")[0] in self.missing:
                return path.replace(path.split(".")[0], self.missing[path.split(".")[0]], 1)
            case {"Fn::Cidr": [block, count, bits]}:
                networks = ipaddress.ip_network(self.text(block)).subnets(new_prefix=32 - int(bits))
                return [str(network) for network in itertools.islice(networks, int(count))]
            case {"Fn::Select": [index, {"Fn::Cidr": _} as blocks]}:
                return self.replaced(blocks)[int(index)]
            case {"Fn::Select": [_, {"Fn::Split": _}]}:
                return self.text(value)
            case {"Fn::If": [condition, yes, no]}:
                return self.replaced(yes if self.holds({"Condition": condition}) else no)
            case {"Fn::Sub": str() as pattern}:
                for name, stand_in in self.missing.items():
                    pattern = pattern.replace(f"${{{name}}}", stand_in)
                return {"Fn::Sub": pattern}
            case dict():
                members = {name: self.replaced(member) for name, member in value.items() if name not in LEFT_OUT}
                return {name: member for name, member in members.items() if member != NO_VALUE}
        return value


def transformed(template, values):
    """The template as CloudFormation sees it, after its transforms."""
    transforms = template.pop("Transform", None)
    if transforms == "AWS::LanguageExtensions":
        return with_loops(template, values)
    if transforms is None:
        return template
    for resource in template["Resources"].values():
        code = resource.get("Properties", {}).get("CodeUri")
        if resource["Type"] == "AWS::Serverless::Function" and code:
            # As `sam deploy` does after the upload.
            program = (Path(code) / "bootstrap").read_bytes()
            key = hashlib.sha256(program).hexdigest()
            artifacts = boto3.client("s3", region_name="us-east-1")
            artifacts.create_bucket(Bucket="artifacts")
            artifacts.put_object(Bucket="artifacts", Key=key, Body=archive(program))
            resource["Properties"]["CodeUri"] = f"s3://artifacts/{key}"
    template.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    return transform(template, dict(values), ManagedPolicies())


def with_loops(template, values):
    """`Fn::ForEach` over a parameter, as in deploy/alarms.yaml."""
    resources = {}
    for key, value in template["Resources"].items():
        if not key.startswith("Fn::ForEach::"):
            resources[key] = value
            continue
        name, collection, bodies = value
        default = template["Parameters"][collection["Ref"]].get("Default", "")
        for item in values.get(collection["Ref"], default).split(","):
            for body, resource in bodies.items():
                logical_id = "".join(c for c in body.replace(f"&{{{name}}}", item) if c.isalnum())
                resources[logical_id] = json.loads(json.dumps(resource).replace(f"${{{name}}}", item))
    return {**template, "Resources": resources}


def archive(program):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("bootstrap", program)
    return content.getvalue()


def bundle(folder, functions, release=b"release 1"):
    """What `make build` leaves."""
    for name in functions:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "bootstrap.zip").write_bytes(archive(release + name.encode()))
