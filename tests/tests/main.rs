//! Black-box tests: real programs between the sandbox and recording fakes. One binary, linked once.

mod honeycomb_fake;
mod puppet;
mod sandbox;
mod sandbox_telemetry;
