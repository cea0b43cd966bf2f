//! The least that a function in Rust can be: what it takes to start, any takes. For `make bench`.

use lambda_http::{Error, Request, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: Request| Ok::<_, Error>("[]"))).await
}
