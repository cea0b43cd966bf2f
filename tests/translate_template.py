"""Prints template.yaml as CloudFormation gets it: as JSON, its Serverless resources translated.

Offline. Parameters have their defaults, or what the arguments say: `Name=value`.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# Where `sam deploy` puts what was built, and says so in the template.
UPLOADED = "s3://bucket/key"


class NoPolicies:
    """For policies that a template names without an ARN: ours has none."""

    def load(self):
        return {}


path = pathlib.Path(__file__).parent.parent / "template.yaml"
template = yaml_parse(path.read_text())
template["Globals"]["Function"]["CodeUri"] = UPLOADED
template["Resources"]["TelemetryLayer"]["Properties"]["ContentUri"] = UPLOADED
parameters = dict(argument.split("=", 1) for argument in sys.argv[1:])
json.dump(transform(template, parameters, NoPolicies()), sys.stdout)
