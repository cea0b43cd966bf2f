//! Black-box tests: real programs between the sandbox and recording fakes. One binary, linked once.

// What the support itself promises.
mod honeycomb_fake;
mod local_run;
mod puppet;
mod sandbox;
mod sandbox_telemetry;
mod xray_fake;

// What the stores promise, each alike.
mod store;

// What the API promises, on each store.
mod api;

// The order of the sources.
mod architecture;

// What is deployed, and how.
mod deploy;
mod dist;
mod documents;
mod template;

// What the function and the extension promise.
mod board;
mod command_line;
mod cloudwatch;
mod deployed;
mod destinations;
mod doctor;
mod emulator;
mod environment;
mod faults;
mod function_alone;
mod hostile;
mod soak;
mod managed_instances;
mod otlp_grpc;
mod otlp_receiver;
mod page;
mod proxies;
mod python_function;
mod replay;
mod rollbar;
mod sampling;
mod sandbox_attributes;
mod sdks;
mod secrets;
mod snap_start;
mod straight_line;
mod terminal;
mod xray;
mod xray_otlp;
