//! All functions in one program: a deployment links and uploads it once.
//!
//! The `Handler` of each function in template.yaml names its file in `src/bin`.

use cruddur::{Error, endpoints::dispatch};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    dispatch::run(&std::env::var("_HANDLER").unwrap_or_default(), || ()).await
}
