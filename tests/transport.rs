//! Bad input to SSH itself, before and after the login: refused or the end of that connection;
//! memory and processor time stay flat, and a session that was open stays untouched.

mod exchange;
mod messages;
mod truncation;
