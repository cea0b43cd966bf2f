"""Prints what CloudFormation makes of template.yaml for stacks, by our model of its functions.

    resolve_template.py '[["a-stack", {"AuditTrail": "on"}], …]'

Each stack becomes {"refused": […]} with the messages about its parameters, or its "resources" and
"outputs" without those whose condition is false. `Ref` and `GetAtt` of a resource become `<Name>`
and `<Name.Attribute>`. The account is 123456789012, the Region eu-central-1.
"""

import functools
import json
import re
import sys

from translate_template import translate

REGION, ACCOUNT = "eu-central-1", "123456789012"
NO_VALUE = object()


def stack_id(name):
    digits = f"{sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 16**8:08x}"
    uuid = f"{digits}-0000-4000-8000-000000000000"
    return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/{uuid}"


class Stack:
    def __init__(self, template, name, given):
        self.template = template
        declared = template["Parameters"]
        self.refused = [f"{key} is not a parameter" for key in given if key not in declared]
        self.values = {key: str(it["Default"]) for key, it in declared.items()} | given
        for key, parameter in declared.items():
            if not fits(parameter, self.values[key]):
                reason = parameter.get("ConstraintDescription", "has a value that is not allowed")
                self.refused.append(f"{key} {reason}")
        self.values |= {
            "AWS::StackName": name,
            "AWS::StackId": stack_id(name),
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": NO_VALUE,
        }
        for rule in template["Rules"].values():
            if self.resolved(rule.get("RuleCondition", True)):
                broken = (it for it in rule["Assertions"] if not self.resolved(it["Assert"]))
                self.refused += [it["AssertDescription"] for it in broken]

    def condition(self, name):
        return self.resolved(self.template["Conditions"][name])

    def existing(self, section):
        for name, it in self.template[section].items():
            if "Condition" not in it or self.condition(it["Condition"]):
                yield name, self.resolved({key: value for key, value in it.items() if key != "Metadata"})

    def resolved(self, value):
        if isinstance(value, list):
            items = (self.resolved(item) for item in value)
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(key, argument)] = value.items()
            if key == "Ref":
                return self.named(argument)
            if key.startswith("Fn::"):
                return getattr(self, key[4:].lower() + "_")(argument)
        items = {key: self.resolved(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not NO_VALUE}

    def named(self, name):
        if name in self.values:
            return self.values[name]
        resource = self.template["Resources"][name.split(".")[0]]
        assert "Condition" not in resource or self.condition(resource["Condition"]), name
        return f"<{name}>"

    def getatt_(self, path):
        return self.named(".".join(path) if isinstance(path, list) else path)

    def sub_(self, argument):
        text, own = argument if isinstance(argument, list) else (argument, {})
        own = {key: self.resolved(value) for key, value in own.items()}
        return re.sub(
            r"\$\{([^!}]+)\}", lambda it: own.get(it[1]) or self.named(it[1]), text
        ).replace("${!", "${")

    def if_(self, argument):
        condition, then, otherwise = argument
        return self.resolved(then if self.condition(condition) else otherwise)

    def equals_(self, argument):
        left, right = self.resolved(argument)
        return str(left) == str(right)

    def not_(self, argument):
        return not self.resolved(argument[0])

    def and_(self, argument):
        return all(map(self.resolved, argument))

    def or_(self, argument):
        return any(map(self.resolved, argument))

    def join_(self, argument):
        return argument[0].join(self.resolved(argument[1]))

    def split_(self, argument):
        return self.resolved(argument[1]).split(argument[0])

    def select_(self, argument):
        return self.resolved(argument[1])[int(argument[0])]


def fits(parameter, value):
    assert parameter["Type"] == "String"
    pattern, allowed = parameter.get("AllowedPattern"), parameter.get("AllowedValues")
    # The pattern must match the whole value.
    return (pattern is None or bool(re.fullmatch(pattern, value))) and (
        allowed is None or value in map(str, allowed)
    )


declared = functools.cache(lambda: translate({}))


def outcome(name, given):
    refused = Stack(declared(), name, given).refused
    if refused:
        return {"refused": refused}
    # SAM itself puts some parameters into their places.
    stack = Stack(translate(given), name, given)
    return {"resources": dict(stack.existing("Resources")), "outputs": dict(stack.existing("Outputs"))}


if __name__ == "__main__":
    json.dump([outcome(*stack) for stack in json.loads(sys.argv[1])], sys.stdout)
