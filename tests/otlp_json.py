"""Prints random OTLP requests, one a line: the signal, the request as OTLP/JSON, and as base64 of the
protobuf that Python's ProtoJSON parser makes of the same text. Separated by tabs.

The JSON uses every form that ProtoJSON allows. OTLP writes ids as hex, so the parser gets a second text
that differs only in them. Usage: otlp_json.py SEED COUNT
"""

import base64
import json
import math
import random
import struct
import sys

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as Field
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
IDS = {"trace_id", "span_id", "parent_span_id"}
TEXTS = ["", "a", "café", "smile 😀", 'a "quote"', "back\\slash/", "line\nbreak\t\x00\x7f", "{[,:]}", "ß" * 90, "0"]
UNKNOWN = ['7', '"{["', 'null', '[[], {"a": [true, {}]}, "\\"}"]', '{"spans": [1e3], "\\u0061": -0.5}']
LIMITS = {
    Field.TYPE_INT32: (-(2**31), 2**31 - 1),
    Field.TYPE_SINT32: (-(2**31), 2**31 - 1),
    Field.TYPE_UINT32: (0, 2**32 - 1),
    Field.TYPE_FIXED32: (0, 2**32 - 1),
    Field.TYPE_INT64: (-(2**63), 2**63 - 1),
    Field.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    Field.TYPE_UINT64: (0, 2**64 - 1),
    Field.TYPE_FIXED64: (0, 2**64 - 1),
}


class Writer:
    """Two writers of one seed write the same request, but for the form of its ids."""

    def __init__(self, seed, hex_ids):
        self.random = random.Random(seed)
        self.hex_ids = hex_ids

    def space(self):
        return self.random.choice(["", "", "", " ", "\n\t", "\r\n  "])

    def joined(self, open_bracket, parts, close_bracket):
        space = self.space
        return open_bracket + space() + f"{space()},{space()}".join(parts) + space() + close_bracket

    def message(self, descriptor, depth):
        fields = []
        chosen = [f for f in descriptor.fields if not f.containing_oneof or len(f.containing_oneof.fields) == 1]
        oneofs = [it for it in descriptor.oneofs if len(it.fields) > 1]
        chosen += [self.random.choice(it.fields) for it in oneofs if depth > 5 or self.random.random() < 0.9]
        for field in chosen:
            if self.random.random() < (1 if depth < 3 else 0.7):
                fields.append((self.name(field), self.field(field, depth)))
        if self.random.random() < 0.1:
            fields.append((json.dumps("unknown_field"), self.random.choice(UNKNOWN)))
        self.random.shuffle(fields)
        return self.joined("{", [f"{name}{self.space()}:{self.space()}{value}" for name, value in fields], "}")

    def name(self, field):
        name = self.random.choice([field.json_name, field.json_name, field.name])
        escaped = "\\u%04x%s" % (ord(name[0]), name[1:])
        return '"%s"' % (escaped if self.random.random() < 0.05 else name)

    def field(self, field, depth):
        if self.random.random() < (0.01 if depth < 3 else 0.05):
            return "null"
        if not field.is_repeated:
            return self.value(field, depth)
        count = self.random.choice([1, 1, 1, 2] if depth < 3 else [0, 1, 1, 2, 3] if depth < 9 else [0, 1])
        return self.joined("[", [self.value(field, depth) for _ in range(count)], "]")

    def value(self, field, depth):
        if field.type == Field.TYPE_MESSAGE:
            return "{}" if depth > 14 else self.message(field.message_type, depth + 1)
        if field.type == Field.TYPE_STRING:
            return self.text(self.random.choice(TEXTS))
        if field.type == Field.TYPE_BYTES:
            return self.bytes(field)
        if field.type == Field.TYPE_BOOL:
            return self.random.choice(["true", "false"])
        if field.type == Field.TYPE_ENUM:
            value = self.random.choice(field.enum_type.values)
            return self.random.choice([f'"{value.name}"', str(value.number), f'"{value.number}"', "99"])
        if field.type == Field.TYPE_DOUBLE:
            return self.double()
        return self.integer(*LIMITS[field.type])

    def text(self, text):
        if self.random.random() < 0.2:
            units = text.encode("utf-16-be")
            return '"%s"' % "".join("\\u" + units[i : i + 2].hex() for i in range(0, len(units), 2))
        return json.dumps(text, ensure_ascii=self.random.random() < 0.5).replace("/", self.random.choice(["/", "\\/"]))

    def bytes(self, field):
        if field.name in IDS:
            length = self.random.choice([0, 8 if "span" in field.name else 16])
            value = self.random.randbytes(length)
            digits = self.random.choice([value.hex(), value.hex().upper()])
            return '"%s"' % (digits if self.hex_ids else base64.b64encode(value).decode())
        value = self.random.randbytes(self.random.randrange(6))
        encode = self.random.choice([base64.b64encode, base64.urlsafe_b64encode])
        text = encode(value).decode()
        return '"%s"' % (text.rstrip("=") if self.random.random() < 0.5 else text)

    def double(self):
        value = self.random.choice([0.0, -0.0, 1.5, 1e300, -5e-324, math.nan, math.inf, -math.inf, None])
        if value is None:
            value = struct.unpack("<d", self.random.randbytes(8))[0]
        if not math.isfinite(value):
            return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
        return self.random.choice([repr(value), f'"{value!r}"', f"{value:.17e}", str(int(value)) if value == 0 else repr(value)])

    def integer(self, low, high):
        value = self.random.choice([low, high, 0, 1, self.random.randint(low, high), self.random.randint(0, 1000)])
        forms = [str(value), f'"{value}"']
        if abs(value) < 2**53:
            forms += [f"{value}.0", f"{value}e0", f'"{value}.0"']
        return self.random.choice(forms)


def main(seed, count):
    for number in range(count):
        for signal, request in REQUESTS.items():
            key = f"{seed} {number} {signal}"
            ours = Writer(key, hex_ids=True).message(request.DESCRIPTOR, 0)
            theirs = Writer(key, hex_ids=False).message(request.DESCRIPTOR, 0)
            parsed = json_format.Parse(theirs, request(), ignore_unknown_fields=True)
            protobuf = base64.b64encode(parsed.SerializeToString()).decode()
            print(signal, base64.b64encode(ours.encode()).decode(), protobuf, sep="\t")


main(int(sys.argv[1]), int(sys.argv[2]))
