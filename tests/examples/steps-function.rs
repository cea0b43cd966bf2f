//! A function that does nothing but as many steps as the parameter `limit` says, each a span with an
//! attribute. For `make bench`.

use cruddur::http::{ApiError, Request, Response, Route};
use cruddur::runtime::App;
use cruddur::{Error, runtime};
use tracing::info_span;

const ROUTE: Route = Route::new(&["GET"], "/api/activities/home");

async fn handle(_: &App, request: Request) -> Result<Response, ApiError> {
    let steps = request.query_parameter("limit").and_then(|text| text.parse().ok());
    for step in 0..steps.unwrap_or(0_i64) {
        // Only spans of ours are told.
        info_span!(target: "cruddur::bench", "step", app.step = step).in_scope(|| {});
    }
    Ok(Response::ok(&[(); 0])?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    runtime::run(ROUTE, handle).await
}
