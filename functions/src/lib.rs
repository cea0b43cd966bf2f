//! cruddur
