//! Faults for tests. No deployed build has them.

use crate::http::Request;

/// Panics on the header `x-cruddur-fault: panic`, and never ends on `hang`.
pub(super) async fn fail_on_demand(request: &Request) {
    match request.header("x-cruddur-fault") {
        Some("panic") => panic!("a header asked for it"),
        Some("hang") => std::future::pending().await,
        _ => {}
    }
}
