// Telemetry as OTLP/JSON.

import { randomBytes } from 'node:crypto';

/** The scope of the spans that the extension makes of platform events. */
const OWN_SCOPE = 'cruddur-telemetry';

export const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

export const traceId = () => randomBytes(16).toString('hex');
export const spanId = () => randomBytes(8).toString('hex');

/** Nanoseconds as OTLP/JSON has them, of milliseconds with three decimals. */
export const nanos = ms => String(BigInt(Math.round(ms * 1000)) * 1000n);

export function attributes(pairs) {
  return Object.entries(pairs).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value) {
  if (typeof value === 'boolean') return { boolValue: value };
  if (Number.isInteger(value)) return { intValue: String(value) };
  if (typeof value === 'number') return { doubleValue: Number.isFinite(value) ? value : String(value) };
  return { stringValue: value };
}

export function span({ trace, id = spanId(), parent = '', name, kind = KIND.internal, start, took, error, ...rest }) {
  return {
    traceId: trace,
    spanId: id,
    parentSpanId: parent,
    name,
    kind,
    startTimeUnixNano: nanos(start),
    endTimeUnixNano: nanos(start + took),
    attributes: attributes(rest.attributes ?? {}),
    events: (rest.events ?? []).map(event => ({
      name: event.name,
      timeUnixNano: nanos(event.time),
      attributes: attributes(event.attributes ?? {}),
    })),
    status: error ? { code: 2, message: error === true ? '' : error } : {},
  };
}

export const STACK = `   0: home_activities::handle
             at functions/src/endpoints/home_activities.rs:8
   1: cruddur::runtime::run
             at functions/src/runtime/mod.rs:126`;

export function exception(time, message) {
  return {
    name: 'exception',
    time,
    attributes: { 'exception.type': 'panic', 'exception.message': message, 'exception.stacktrace': STACK },
  };
}

/** The server span of a request. */
export function request({ trace = traceId(), method = 'GET', route, status = 200, took = 5, ago = 0, ...rest }) {
  const start = rest.start ?? Date.now() - ago - took;
  const { cold, user, error, events, id, name } = rest;
  return span({
    trace,
    id,
    name: name ?? `${method} ${route}`,
    kind: KIND.server,
    start,
    took,
    error,
    events,
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': status,
      'faas.invocation_id': `request-${trace.slice(0, 8)}`,
      ...(cold ? { 'faas.coldstart': true } : {}),
      ...(user ? { 'app.user_id': user } : {}),
      ...rest.attributes,
    },
  });
}

/** The body of `/v1/traces`. */
export function tracesBody(spans, { service = 'home-activities', scope = 'test' } = {}) {
  const resource = { attributes: attributes({ 'service.name': service }) };
  return { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: scope }, spans }] }] };
}

export const platformBody = spans => tracesBody(spans, { scope: OWN_SCOPE });

/** The body of `/v1/logs`. */
export function logsBody(lines, { service = 'home-activities' } = {}) {
  const NUMBER = { DEBUG: 5, INFO: 9, WARN: 13, ERROR: 17 };
  const logRecords = lines.map(({ trace, span: id, level = 'INFO', message, time = Date.now(), fields = {} }) => ({
    timeUnixNano: nanos(time),
    severityNumber: NUMBER[level],
    severityText: level,
    body: { stringValue: message },
    traceId: trace,
    spanId: id,
    attributes: attributes(fields),
  }));
  const resource = { attributes: attributes({ 'service.name': service }) };
  return { resourceLogs: [{ resource, scopeLogs: [{ scope: { name: 'test' }, logRecords }] }] };
}
