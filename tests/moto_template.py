"""Prints template.yaml as moto's CloudFormation can deploy it: {"template": …, "left_out": […]}.

    moto_template.py NAME

moto knows some of the resource types, and few functions. Resources of other types are left out;
functions are resolved by our model, except for references to the resources that stay.
"""

import json
import re
import sys

from moto.cloudformation import parsing
from resolve_template import Stack
from translate_template import translate


def with_references(value, known):
    """`<Name>` and `<Name.Attribute>` become references; those to other resources stay texts."""
    if isinstance(value, dict):
        return {key: with_references(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [with_references(item, known) for item in value]
    parts = re.split(r"<(\w+(?:\.\w+)?)>", value) if isinstance(value, str) else []
    if not any(part.split(".")[0] in known for part in parts[1::2]):
        return value
    join = []
    for index, part in enumerate(parts):
        name, *attribute = part.split(".") if index % 2 else [part]
        if index % 2 and name in known:
            join.append({"Fn::GetAtt": [name, *attribute]} if attribute else {"Ref": name})
        elif part:
            join.append(f"<{part}>" if index % 2 else part)
    return join[0] if len(join) == 1 else {"Fn::Join": ["", join]}


stack = Stack(translate({}), sys.argv[1], {})
resources = dict(stack.existing("Resources"))
known = {name for name, it in resources.items() if it["Type"] in parsing.get_model_map()}
kept = {name: it for name, it in resources.items() if name in known}
for resource in kept.values():
    resource.pop("Condition", None)
template = {"Resources": kept, "Outputs": dict(stack.existing("Outputs"))}
left_out = sorted({it["Type"] for name, it in resources.items() if name not in known})
json.dump({"template": with_references(template, known), "left_out": left_out}, sys.stdout)
