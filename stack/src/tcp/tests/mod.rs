//! Behaviour of one connection, in virtual time.
