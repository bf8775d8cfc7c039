//! stub
pub fn main() {}
