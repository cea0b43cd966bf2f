"""Prints template.yaml as CloudFormation receives it: as JSON, its Serverless resources translated.

Offline. Parameters have their defaults, or the values of the arguments: `Name=value`.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# `sam deploy` replaces the paths of code by the place of the upload.
UPLOADED = "s3://bucket/key"


class NoPolicies:
    """Managed policies that a template names without an ARN: ours names none."""

    def load(self):
        return {}


def translate(parameters):
    path = pathlib.Path(__file__).parent.parent / "template.yaml"
    template = yaml_parse(path.read_text())
    template["Globals"]["Function"]["CodeUri"] = UPLOADED
    template["Resources"]["TelemetryLayer"]["Properties"]["ContentUri"] = UPLOADED
    return transform(template, parameters, NoPolicies())


if __name__ == "__main__":
    json.dump(translate(dict(argument.split("=", 1) for argument in sys.argv[1:])), sys.stdout)
