//! cruddur-tests
